import postgres from 'postgres';
import { type StandInWallet, startWallet } from '../../sandbox/lightning/wallet.ts';
import { type StandInRelay, startRelay } from '../../sandbox/nostr/relay.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, eventually, type Json, newOperator } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';

export const MSAT = 21_000;
export const CREDITS = 500;

/** A Farebox that sells a package for 21 sat by a wallet's invoices, over a relay. */
export interface LightningStage {
  relay: StandInRelay;
  wallet: StandInWallet;
  farebox: TestFarebox;
  operator: Client;
  pack: Json;
  root: postgres.Sql;
  buy(client: Client, key?: string): Promise<Json>;
  /** The purchase, once it is so; nobody waits for the pauses between two looks. */
  becomes(client: Client, purchase: Json, status: string): Promise<Json>;
  /** Lets its invoice's time pass, and so much more. */
  end(purchase: Json, afterS: number): Promise<void>;
  booked(purchase: Json): Promise<number>;
  differencesOf(purchase: Json): Promise<string[]>;
  close(): Promise<void>;
}

export async function openLightningStage(env: Record<string, string> = {}): Promise<LightningStage> {
  const relay = await startRelay();
  const wallet = await startWallet({ relayUrl: relay.url });
  const farebox = await fareboxForFile({ env: { NWC_URL: wallet.connectionUrl, ...env } });
  const root = postgres(farebox.database.superuserUrl, { max: 2, onnotice: () => {} });
  const operator = await newOperator(farebox);
  const body = { name: 'Starter', credits: CREDITS, price: 10_000 };
  const pack = await operator.ok('POST', '/v1/admin/packages', { body });
  const price = { amount_msat: String(MSAT) };
  await operator.ok('PUT', `/v1/admin/packages/${pack.id}/lightning-price`, { body: price });
  const uuidOf = ({ id }: Json) => fromWire('purchase', id);
  const hurry = () => root`update payments.invoices set next_check_at = now() where state = 'open'`;
  return {
    ...{ relay, wallet, farebox, operator, pack, root },
    buy: (client, key) =>
      client.ok('POST', '/v1/purchases', {
        body: { package_id: pack.id, method: { type: 'lightning' } },
        ...(key === undefined ? {} : { key }),
      }),
    becomes: (client, { id }, status) =>
      eventually(
        async () => {
          await hurry();
          return client.ok('GET', `/v1/purchases/${id}`);
        },
        (now) => now.status === status,
      ),
    end: async (purchase, afterS) => {
      await root.begin(async (tx) => {
        await tx`alter table payments.invoices disable trigger invoices_frozen`;
        await tx`update payments.invoices set expires_at = now() - make_interval(secs => ${afterS}), next_check_at = now()
          where purchase_id = ${uuidOf(purchase)} and state = 'open'`;
        await tx`alter table payments.invoices enable trigger invoices_frozen`;
      });
    },
    booked: async (purchase) => {
      const [row] = await root`select coalesce(sum(amount), 0)::int as credits from credits.transfers
        where kind = 'purchase' and ref_id = ${uuidOf(purchase)}`;
      return row?.['credits'];
    },
    differencesOf: async (purchase) => {
      const rows = await root`select kind from payments.differences where purchase_id = ${uuidOf(purchase)} order by 1`;
      return rows.map(({ kind }) => kind);
    },
    close: async () => {
      await root.end();
      await farebox.stop();
      wallet.close();
      await relay.close();
    },
  };
}
