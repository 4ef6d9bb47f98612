import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Nip47Transaction, NWCWalletService, NWCWalletServiceKeyPair } from '@getalby/sdk/nwc';
import { getPublicKey } from 'nostr-tools/pure';
import { type Minted, mintInvoice } from './mint.ts';

/** A wallet that answers NWC (NIP-47) over a relay, by Alby's own service class; the money is made up. */

export interface WalletOptions {
  relayUrl: string;
  /** Kept, where the connection is to stay the same; else new ones. */
  secrets?: WalletSecrets;
  /** Where its invoices outlive it. */
  memoryFile?: string;
}

export interface WalletSecrets {
  wallet: string;
  client: string;
}

export const newWalletSecrets = (): WalletSecrets => ({
  wallet: randomBytes(32).toString('hex'),
  client: randomBytes(32).toString('hex'),
});

/** What goes wrong; each holds until `faults` is told otherwise. */
export interface WalletFaults {
  /** Of every answer. */
  error?: { code: string; message: string };
  isSilent?: boolean;
  /** Between finding an answer and giving it. */
  slowMs?: number;
  /** Other amounts than those it was asked for, in invoices and in what it tells of them. */
  msatAdded?: number;
  paymentHash?: string;
  /** Makes no new ones, and answers with the one that it made last. */
  isRepeating?: boolean;
  /** Does not tell by itself that something was paid. */
  isDiscreet?: boolean;
  /** Says that everything was paid. */
  isGenerous?: boolean;
  network?: 'bc';
  expiryS?: number;
  /** Its clock. */
  behindS?: number;
}

export interface StandInWallet {
  /** For NWC_URL. */
  connectionUrl: string;
  control: {
    /** Somebody pays an invoice: by its text, or its payment hash. False when it is none of this wallet's, or was paid. */
    pay(invoice: string): Promise<boolean>;
    invoices(): Nip47Transaction[];
    faults(now: WalletFaults): void;
    /** Methods that were asked for, in their order. */
    asked(): string[];
    /** Tells again that it was paid. */
    notify(paymentHash: string): Promise<void>;
  };
  close(): void;
}

const METHODS = ['get_info', 'make_invoice', 'lookup_invoice', 'list_transactions', 'notifications'] as const;
const PAGE = 20;

export async function startWallet({
  relayUrl,
  secrets = newWalletSecrets(),
  memoryFile,
}: WalletOptions): Promise<StandInWallet> {
  const walletKey = getPublicKey(Uint8Array.fromHex(secrets.wallet));
  const clientKey = getPublicKey(Uint8Array.fromHex(secrets.client));
  const keys = new NWCWalletServiceKeyPair(secrets.wallet, clientKey);
  const service = new NWCWalletService({ relayUrls: [relayUrl] });
  // It leaves the promises of its answers to nobody: one that is lost with its relay would end the process.
  const publish = service.pool.publish.bind(service.pool);
  service.pool.publish = (...args) => publish(...args).map((sent) => sent.catch(() => 'lost'));
  const known = new Map<string, Nip47Transaction>(memoryFile ? remembered(memoryFile) : []);
  const keep = () => memoryFile && writeFileSync(memoryFile, JSON.stringify([...known]));
  const asked: string[] = [];
  let faults: WalletFaults = {};

  /** What every answer goes through. */
  const answer = async <T extends object>(method: string, work: () => T | undefined) => {
    asked.push(method);
    if (faults.isSilent) await new Promise(() => {});
    if (faults.error) return { result: undefined, error: faults.error };
    const result = work();
    if (faults.slowMs) await sleep(faults.slowMs);
    if (!result) return { result: undefined, error: { code: 'NOT_FOUND', message: 'no such invoice' } };
    return { result, error: undefined };
  };
  const told = (one: Nip47Transaction): Nip47Transaction => ({
    ...one,
    amount: one.amount + (faults.msatAdded ?? 0),
    ...(faults.paymentHash ? { payment_hash: faults.paymentHash, preimage: '' } : {}),
    ...(faults.isGenerous ? { state: 'settled', settled_at: nowS() } : {}),
  });

  await service.publishWalletServiceInfoEvent(secrets.wallet, [...METHODS] as never, ['payment_received']);
  const leave = await service.subscribe(keys, {
    getInfo: () => answer('get_info', () => ({ methods: [...METHODS] }) as never),
    makeInvoice: ({ amount, description, description_hash, expiry }) =>
      answer('make_invoice', () => {
        const last = [...known.values()].at(-1);
        if (faults.isRepeating && last) return told(last);
        const minted = mintInvoice({
          amountMsat: BigInt(amount + (faults.msatAdded ?? 0)),
          ...(description_hash ? { descriptionHash: description_hash } : { description: description ?? '' }),
          expiryS: faults.expiryS ?? expiry ?? 3_600,
          createdAt: new Date(Date.now() - (faults.behindS ?? 0) * 1000),
          ...(faults.network ? { network: faults.network } : {}),
        });
        known.set(minted.paymentHash, transactionOf(minted, amount, description ?? ''));
        keep();
        return told(known.get(minted.paymentHash) as Nip47Transaction);
      }),
    lookupInvoice: ({ payment_hash = '' }) =>
      answer('lookup_invoice', () => {
        const found = known.get(payment_hash);
        return found && told(found);
      }),
    listTransactions: ({ from = 0, limit = PAGE, offset = 0, unpaid = false }) =>
      answer('list_transactions', () => {
        const fitting = [...known.values()]
          .filter(({ created_at, state }) => created_at >= from && (unpaid || state === 'settled'))
          .reverse();
        const page = fitting.slice(offset, offset + Math.min(limit, PAGE));
        return { transactions: page.map(told), total_count: fitting.length };
      }),
  });

  const notify = async (paymentHash: string) => {
    const notification = known.get(paymentHash);
    if (!notification) throw new Error('this wallet has no such invoice');
    const text = JSON.stringify({ notification_type: 'payment_received', notification });
    const content = await service.encrypt(keys, text, 'nip44_v2');
    const template = { kind: 23_197, created_at: nowS(), tags: [['p', clientKey]], content };
    await Promise.any(service.pool.publish([relayUrl], await service.signEvent(template, secrets.wallet)));
  };

  return {
    connectionUrl: `nostr+walletconnect://${walletKey}?relay=${encodeURIComponent(relayUrl)}&secret=${secrets.client}`,
    control: {
      pay: async (invoice) => {
        const text = invoice.toLowerCase().replace(/^lightning:/, '');
        const found = [...known.values()].find((one) => one.invoice === text || one.payment_hash === text);
        if (!found || found.state === 'settled') return false;
        Object.assign(found, { state: 'settled', settled_at: nowS() });
        keep();
        if (!faults.isDiscreet) await notify(found.payment_hash).catch(() => {}); // whoever is away does not hear it
        return true;
      },
      invoices: () => [...known.values()],
      faults: (now) => {
        faults = now;
      },
      asked: () => [...asked],
      notify,
    },
    close: () => {
      leave();
      service.close();
    },
  };
}

const remembered = (file: string): [string, Nip47Transaction][] =>
  existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : [];

const transactionOf = (minted: Minted, amount: number, description: string): Nip47Transaction => ({
  ...{ type: 'incoming', state: 'pending', invoice: minted.invoice, description, description_hash: '' },
  ...{ preimage: minted.preimage, payment_hash: minted.paymentHash, amount, fees_paid: 0, settled_at: 0 },
  created_at: Math.floor(minted.createdAt.getTime() / 1000),
  expires_at: Math.floor(minted.expiresAt.getTime() / 1000),
});

const nowS = () => Math.floor(Date.now() / 1000);
