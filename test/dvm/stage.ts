import { createHash, randomBytes } from 'node:crypto';
import { SimplePool, useWebSocketImplementation } from 'nostr-tools/pool';
import { type NostrEvent as Foreign, finalizeEvent, getPublicKey } from 'nostr-tools/pure';
import WebSocket from 'ws';
import { mintInvoice } from '../../sandbox/lightning/mint.ts';
import { type StandInWallet, startWallet } from '../../sandbox/lightning/wallet.ts';
import { startRelay } from '../../sandbox/nostr/relay.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import type { FareboxOptions } from '../harness/farebox.ts';
import { makers, type TestRelay } from '../nostr/stage.ts';
import { openStage, type Stage } from '../workflows/stage.ts';

useWebSocketImplementation(WebSocket);

/** A Farebox that does jobs over two relays of two makers, and customers with the library that most of them use. */
export interface DvmStage extends Stage {
  us: string;
  relays: TestRelay[];
  /** That makes our invoices, where there is one. */
  wallet: StandInWallet['control'];
  /** Offers a service of a kind of its own; credits are 1000 msat each unless the policy says otherwise. */
  sell(payment?: Json, terms?: Json & { path?: string }): Promise<{ service: Json; kind: number }>;
  newCustomer(): Customer;
}

export interface Customer {
  pubkey: string;
  secret: Uint8Array<ArrayBuffer>;
  /** Sends a request for a job and collects what is answered. */
  ask(kind: number, tags?: string[][], more?: { content?: string; created_at?: number }): Promise<Job>;
  publish(event: Foreign): Promise<void>;
  sign(kind: number, tags: string[][], content?: string, created_at?: number): Foreign;
  /** Pays an event: a zap request, and the receipt that a provider makes of it. */
  zap(event: Pick<Foreign, 'id'>, msat: bigint, change?: Partial<Zap>): Promise<void>;
  /** The receipt of such a zap, which nobody has published yet. */
  receipt(event: Pick<Foreign, 'id'>, msat: bigint, change?: Partial<Zap>): Foreign;
  close(): void;
}

interface Zap {
  /** Of its invoice; that of another invoice otherwise. */
  preimage: string;
  /** Paid by it, instead of by one for the zap request. */
  invoice: string;
  createdAt: number;
}

export interface Job {
  id: string;
  request: Foreign;
  /** In the order of their time. */
  answers(): Foreign[];
  /** `7000 processing`, `6600`, …: the first word of each answer. */
  words(): string[];
  /** The answer with this word, once it is there. */
  word(what: string, n?: number): Promise<Foreign>;
  /** When the last word was said: all of them. */
  over(): Promise<string[]>;
}

const PROVIDER = new Uint8Array(randomBytes(32));
export const invoiceOf = (event: Foreign): string => event.tags.find(([name]) => name === 'amount')?.[2] ?? '';
export const msatOf = (event: Foreign): bigint => BigInt(event.tags.find(([name]) => name === 'amount')?.[1] ?? 0);
export const infoOf = (event: Foreign): string => event.tags.find(([name]) => name === 'status')?.[2] ?? '';
export const wordOf = ({ kind, tags }: Foreign) =>
  kind === 7000 ? `7000 ${tags.find(([name]) => name === 'status')?.[1]}` : String(kind);
const seconds = () => Math.floor(Date.now() / 1000);

let kinds = 5600;

/** What makes a Farebox do jobs over these relays. */
export const settingsOf = (secret: Uint8Array, urls: string[]) => ({
  NOSTR_SECRET_KEY: Buffer.from(secret).toString('hex'),
  NOSTR_RELAYS: urls.join(','),
  ZAP_PROVIDERS: getPublicKey(PROVIDER),
});

/** A service of a kind of its own, paid by Lightning at 1000 msat a credit. */
export const offering = (payment: Json = {}): Json => {
  kinds += 1;
  const policy = { rails: [{ rail: 'credits' }, { rail: 'lightning', price_per_credit: 1000 }], ...payment };
  return { credit_cost: 30, nostr_kind: kinds, payment: policy };
};

export async function openDvmStage({
  hasWallet = false,
  ...options
}: FareboxOptions & { hasWallet?: boolean } = {}): Promise<DvmStage> {
  const secret = new Uint8Array(randomBytes(32));
  const us = getPublicKey(secret);
  const relays = await Promise.all(Object.values(makers).map((make) => make()));
  const urls = relays.map(({ url }) => url);
  const between = hasWallet ? await startRelay() : undefined;
  const wallet = between && (await startWallet({ relayUrl: between.url }));
  const stage = await openStage({
    ...options,
    env: { ...settingsOf(secret, urls), ...(wallet ? { NWC_URL: wallet.connectionUrl } : {}), ...options.env },
  });
  return {
    ...stage,
    ...{ us, relays },
    get wallet() {
      if (!wallet) throw new Error('this stage has no wallet');
      return wallet.control;
    },
    sell: async (payment = {}, { path = '/echo', ...terms } = {}) => {
      const offered = offering(payment);
      return { service: await stage.offer(path, { ...offered, ...terms }), kind: offered.nostr_kind };
    },
    newCustomer: () => newCustomer(us, urls),
    close: async () => {
      await stage.close();
      for (const relay of relays) await relay.close();
      wallet?.close();
      await between?.close();
    },
  };
}

export function newCustomer(
  us: string,
  urls: string[],
  secret: Uint8Array<ArrayBuffer> = new Uint8Array(randomBytes(32)),
): Customer {
  const pool = new SimplePool({ enableReconnect: true });
  const pubkey = getPublicKey(secret);
  const sign: Customer['sign'] = (kind, tags, content = '', created_at = seconds()) =>
    finalizeEvent({ kind, tags, content, created_at }, secret);
  /** Until one relay has it: they go and come, and the pool gives up soon. */
  const publish = async (event: Foreign) => {
    await eventually(
      () =>
        Promise.any(pool.publish(urls, event))
          .then(() => true)
          .catch(() => false),
      (isTaken) => isTaken,
      60_000,
    );
  };
  const receipt: Customer['receipt'] = ({ id }, msat, { preimage, invoice, createdAt = seconds() } = {}) => {
    const request = sign(9734, [
      ['relays', ...urls],
      ['amount', String(msat)],
      ['p', us],
      ['e', id],
    ]);
    const description = JSON.stringify(request);
    const minted = mintInvoice({
      amountMsat: msat,
      descriptionHash: createHash('sha256').update(description).digest('hex'),
      createdAt: new Date(createdAt * 1000),
      ...(preimage ? { preimage } : {}),
    });
    return finalizeEvent(
      {
        ...{ kind: 9735, content: '', created_at: createdAt },
        tags: [
          ['p', us],
          ['e', id],
          ['P', pubkey],
          ['bolt11', invoice ?? minted.invoice],
          ['description', description],
          ['preimage', minted.preimage],
        ],
      },
      PROVIDER,
    );
  };

  return {
    ...{ pubkey, secret, sign, publish },
    ask: async (kind, tags = [['i', 'hello', 'text']], { content = '', created_at = seconds() } = {}) => {
      // Without it two requests of one second would be one.
      const request = sign(kind, [...tags, ['p', us], ['t', randomBytes(4).toString('hex')]], content, created_at);
      const heard = new Map<string, Foreign>();
      pool.subscribeMany(
        urls,
        { kinds: [7000, kind + 1000], '#e': [request.id] },
        { onevent: (event) => void heard.set(event.id, event) },
      );
      await publish(request);
      const answers = () => [...heard.values()].toSorted((a, b) => a.created_at - b.created_at);
      const isLast = (event: Foreign) => event.kind !== 7000 || wordOf(event) === '7000 error';
      return {
        ...{ id: request.id, request, answers },
        words: () => answers().map(wordOf),
        word: async (what, n = 1) => {
          const found = () => answers().filter((one) => wordOf(one) === what)[n - 1];
          await eventually(
            async () => ({ words: answers().map(wordOf), there: found() !== undefined }),
            ({ there }) => there,
          );
          return found() as Foreign;
        },
        over: async () => {
          await eventually(
            async () => answers().map((one) => `${wordOf(one)} ${infoOf(one)}`),
            () => answers().some(isLast),
          );
          return answers().map(wordOf);
        },
      };
    },
    receipt,
    zap: (event, msat, change) => publish(receipt(event, msat, change)),
    close: () => pool.close(urls),
  };
}

/** The account of a key, as the operator sees it. */
export const balanceOf = async ({ root }: Stage, { pubkey }: Customer): Promise<Json> => {
  const [row] = await root`
    select available::int, held::int, debt::int from credits.accounts a join workflows.nostr_customers c on c.account_id = a.account_id
    where c.pubkey = ${pubkey}`;
  return row ?? { available: 0, held: 0, debt: 0 };
};

/** What became of a job in the books: work that was begun, payments that came, what was taken, last words. */
export const worksOf = async ({ root }: Stage, id: string) => {
  const [row] = await root`
    select (select count(*)::int from platform.events e where e.subject_id = j.run_id and e.type = 'workflows.run_dispatched') as dispatched,
      (select count(*)::int from credits.transfers t where t.account_id = j.account_id and t.kind = 'purchase') as credited,
      (select count(*)::int from credits.transfers t where t.account_id = j.account_id and t.kind = 'capture') as taken,
      (select count(*)::int from workflows.nostr_events w where w.job_id = j.id and w.is_last) as ended
    from workflows.nostr_jobs j where j.id = ${id}`;
  return row;
};

export type { Client };
