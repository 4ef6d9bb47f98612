import { findAnvil } from '../../sandbox/chain/anvil.ts';
import { type Chain, dollarsOf, payDollars, startChain } from '../harness/chain.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import { signIn } from '../harness/dids.ts';
import { agree, newPayer, type Payer, submit } from '../payments/request-stage.ts';
import { type Order, type OrderStage, openOrderStage, standing, type Wallet } from './stage.ts';

/** A shop whose orders are paid by each rail: with credits, at the provider's checkout, and on a chain where npm has one. */
export interface RailStage extends OrderStage {
  chain: Chain | undefined;
  /** At the hosted checkout, by PromptPay; resolves to the charge, which is still to be paid. */
  choosePromptPay(asked: Json): Promise<string>;
  /** A wallet with dollars on chain, whose DID is its key. */
  payer(): Promise<Wallet & { payer: Payer }>;
  /** Agrees to what a purchase asks for on chain, and pays it; in so many blocks that it is final. */
  payOnChain(payer: Payer, purchaseId: string, amount?: bigint): Promise<Json>;
  /** The account that the DID of a wallet opens. */
  accountOf(wallet: Wallet): Promise<Client>;
  becomes(order: Order, session: string | undefined, status: string): Promise<Json>;
}

const TWO_DOLLARS = 2_000_000n; // of the test token, which has six decimals

export async function openRailStage(env: Record<string, string> = {}): Promise<RailStage> {
  const chain = findAnvil() ? await startChain() : undefined;
  const chains = chain ? { EVM_CHAINS: JSON.stringify([{ ...chain.setting, finality: { usual: 2 } }]) } : {};
  const stage = await openOrderStage({ env: { ...chains, ...env } });
  const { farebox, operator, root } = stage;
  const requests = () => {
    if (!chain) throw new Error('there is no chain here');
    return { chain, farebox, operator, root, merchant: stage.shop };
  };
  return {
    ...stage,
    chain,
    choosePromptPay: async ({ status_url, purchase_id }) => {
      const body = new URLSearchParams({ method: 'promptpay' });
      const reply = await fetch(`${status_url}/pay`, { method: 'POST', redirect: 'manual', body });
      if (reply.status !== 303) throw new Error(`the checkout answered ${reply.status}: ${await reply.text()}`);
      const charge = await eventually(
        async () => chargesOf(stage, purchase_id)[0],
        (one) => one !== undefined,
      );
      return String(charge?.['id']);
    },
    payer: async () => {
      const payer = await newPayer(requests());
      return { ...stage.wallet(payer), payer };
    },
    payOnChain: async (payer, purchaseId, amount = TWO_DOLLARS) => {
      const { payment_request_id: id } = await payer.client.ok('GET', `/v1/purchases/${purchaseId}`);
      const request = await payer.client.ok('GET', `/v1/payment-requests/${id}`);
      await agree(requests(), payer, request);
      await submit(payer, request, await payDollars(payer.wallet, requests().chain, amount));
      await requests().chain.control.mine(3);
      return request;
    },
    accountOf: (wallet) => signIn(farebox, wallet.holder),
    becomes: (order, session, status) =>
      eventually(
        async () => {
          await root`update payments.request_transactions set next_check_at = least(next_check_at, now())`;
          return standing(stage, order, session);
        },
        ({ order_status }) => order_status === status,
      ),
    close: async () => {
      await stage.close();
      await chain?.stop();
    },
  };
}

export const chargesOf = ({ farebox }: Pick<OrderStage, 'farebox'>, purchaseId: string): Json[] =>
  farebox.omise.control.charges().filter((one) => (one['metadata'] as Json).purchase_id === purchaseId);

/** What forty credits cost by the rails that this stage has. */
export const pricesOf = ({ chain }: Pick<RailStage, 'chain'>): Json[] => [
  { rail: 'omise', amount: 2_000, currency: 'THB' },
  ...(chain ? [{ rail: 'evm', asset: dollarsOf(chain), amount: TWO_DOLLARS.toString() }] : []),
];

/** Lets the time to pay run out. */
export const expire = ({ root }: Pick<OrderStage, 'root'>, { id }: Pick<Order, 'id'>): Promise<unknown> =>
  root.begin(async (sql) => {
    await sql`alter table payments.orders disable trigger orders_frozen`;
    await sql`update payments.orders set pay_deadline = now() - interval '1 second' where order_id = ${id}`;
    await sql`alter table payments.orders enable trigger orders_frozen`;
  });
