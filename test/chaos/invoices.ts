import type postgres from 'postgres';
import { type StandInWallet, startWallet, type WalletFaults } from '../../sandbox/lightning/wallet.ts';
import { startRelay } from '../../sandbox/nostr/relay.ts';
import { startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import type { Dice, Tally } from './tally.ts';

/** The wallet that makes invoices, which Farebox asks over a bad network, and those who pay them with wallets of their own. */
export interface WalletWorld {
  wallet: StandInWallet['control'];
  /** Between Farebox and the relay over which it is asked. */
  proxy: TcpProxy;
  env: Record<string, string>;
  /** Payment hashes of what was paid. */
  paid: Set<string>;
  close(): Promise<void>;
}

export async function openWalletWorld(): Promise<WalletWorld> {
  const relay = await startRelay();
  const wallet = await startWallet({ relayUrl: relay.url });
  const { port } = new URL(relay.url);
  const proxy = await startProxy({ target: { port: Number(port) } });
  return {
    ...{ wallet: wallet.control, proxy, paid: new Set() },
    env: { NWC_URL: wallet.connectionUrl.replace(port, String(proxy.port)) },
    close: async () => {
      wallet.close();
      await proxy.close();
      await relay.close();
    },
  };
}

/** Once: a wallet pays no invoice twice. */
export async function payInvoice({ wallet, paid }: WalletWorld, bolt11: string, tally: Tally): Promise<void> {
  const isPaid = await wallet.pay(bolt11);
  const made = wallet.invoices().find(({ invoice }) => invoice === bolt11);
  if (!made) tally.fault(`an invoice that our wallet has not made: ${bolt11}`);
  else if (isPaid) paid.add(made.payment_hash);
  tally.count('pay an invoice', isPaid ? 'paid' : 'it was paid');
}

const TROUBLES: [string, WalletFaults][] = [
  ['tells nothing by itself', { isDiscreet: true }],
  ['tells nothing by itself', { isDiscreet: true }],
  ['makes no invoice', { error: { code: 'RATE_LIMITED', message: 'slowly' } }],
  ['is silent', { isSilent: true }],
  ['is well', {}],
  ['is well', {}],
];

/** Until the next one. */
export function walletTrouble({ wallet }: WalletWorld, dice: Dice, tally: Tally): void {
  const [what, faults] = dice.pick(TROUBLES);
  tally.count('the wallet', what);
  wallet.faults(faults);
}

/** Paid, and Farebox does not know yet. */
export async function unheardInvoices(sql: postgres.Sql, { paid }: WalletWorld): Promise<Record<string, number>> {
  const [row] = await sql<Record<string, number>[]>`
    select count(*)::int as "invoices not heard" from unnest(${[...paid]}::text[]) as one where not exists (
      select from payments.claims k where k.rail = 'lightning' and k.reference = one) and not exists (
      select from payments.differences d where d.reference = one)`;
  return row ?? {};
}

/** Whatever was paid is credited once, to the purchase of its invoice, with exactly its credits; nothing else is. */
export async function checkInvoices(sql: postgres.Sql, { paid, wallet }: WalletWorld, tally: Tally): Promise<void> {
  const rows = await sql<{ hash: string; msat: string; credits: string; moved: string | null; held: string | null }[]>`
    select k.reference as hash, i.amount_msat as msat, p.credits,
      (select sum(t.amount) from credits.transfers t where t.kind = 'purchase' and t.ref_type = 'purchase' and t.ref_id = p.id) as moved,
      (select sum(v.credits) from payments.arrivals v where v.purchase_id = p.id and v.key = k.reference) as held
    from payments.claims k join payments.purchases p on p.id = k.purchase_id
      left join payments.invoices i on i.payment_hash = k.reference where k.rail = 'lightning'`;
  const credited = new Map(rows.map((row) => [row.hash, row]));
  for (const hash of paid) if (!credited.has(hash)) tally.fault(`the invoice ${hash} was paid, and is not credited`);
  for (const { hash, msat, credits, moved, held } of rows) {
    if (!paid.has(hash)) tally.fault(`the invoice ${hash} is credited, and nobody has paid it`);
    const amount = wallet.invoices().find(({ payment_hash }) => payment_hash === hash)?.amount;
    if (String(amount) !== msat || moved !== credits || held !== credits)
      tally.fault(
        `the invoice ${hash} of ${amount} msat brought ${moved} of ${credits} credits, and ${held} for its ask`,
      );
  }
  tally.count('invoices in the end', `${wallet.invoices().length} made, ${paid.size} paid, ${rows.length} credited`);
}
