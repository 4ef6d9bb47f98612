import { setTimeout as sleep } from 'node:timers/promises';
import { agreeToPay } from './agree.ts';
import { type DeedOrder, doDeed } from './deeds.ts';
import { notDone, refused, WalletFault } from './fault.ts';
import { priceBy } from './price.ts';
import { showPaid, toldOf } from './prove.ts';
import type { Opening, Purchase } from './purse.ts';
import { signIn } from './sign-in.ts';
import { type Reply, talk } from './talk.ts';
import { columns, shown } from './terminal.ts';
import type { Told, Wallet } from './wallet.ts';

/**
 * Pays by another rail than credits: says where, and waits until the money is there. It can be cut off anywhere and run
 * again: the same order leads to the same payment while that is open, and what is paid is only shown.
 */

export interface Waiting {
  rail: 'omise' | 'evm';
  /** Seconds; 0: not at all. */
  waitS: number;
}

/** Where it is paid. */
interface Opened {
  purchase_id: string;
  pay_at: string;
  /** EIP-681. */
  payment_uri: string | null;
  expires_at: string;
}

const LOOK_MS = 5_000; // a long poll of the order, and then a look at the payment
const PAUSE_MS = 1_000; // after an answer that makes no sense

export async function payElsewhere(
  wallet: Wallet,
  order: DeedOrder,
  claimed: Purchase,
  sessionId: string | null,
  { rail, waitS }: Waiting,
): Promise<Told> {
  const { opening, ...opened } = await open(order, claimed, sessionId, rail);
  const others = (claimed.openings ?? []).filter(({ purchaseId }) => purchaseId !== opening.purchaseId);
  const purchase: Purchase = { ...claimed, openings: [...others, opening] };
  wallet.purse.keep(purchase);
  const told = {
    ...toldOf(purchase, sessionId, 'opened'),
    rail,
    price: priceBy(purchase.terms ?? {}, rail),
    ...opened,
  };
  if (waitS === 0) return told;
  // First, for whoever is quick with Ctrl-C.
  const { signal, release } = wallet.terminal.interruption();
  try {
    wallet.terminal.say(
      ['', ...whereToPay(told, rail), '', 'Waiting until it is paid. Ctrl-C ends the waiting.'].join('\n'),
    );
    await untilPaid(order, opened, Date.now() + waitS * 1_000, signal);
  } finally {
    release();
  }
  const paid: Purchase = { ...purchase, state: 'paid' };
  wallet.purse.keep(paid);
  if (sessionId !== null && !(await isOpenTo(order, sessionId))) await showPaid(wallet, paid, sessionId);
  return { ...told, result: 'paid' };
}

async function open(
  order: DeedOrder,
  { hContract = '', terms = {} }: Purchase,
  sessionId: string | null,
  rail: Waiting['rail'],
): Promise<Opened & { opening: Opening }> {
  const wish = { h_contract: hContract, session_id: sessionId, rail };
  const what = 'The order was not paid.';
  const reply = await doDeed(order, { action: 'pay', rail, sessionId }, { wish, to: 'pay', what });
  const { purchase_id, status_url, expires_at, payment_request } = reply;
  if (typeof status_url !== 'string' || !status_url.startsWith(`${order.base}/`))
    throw refused(
      what,
      `It is said to be paid at ${shown(status_url)}, and not at ${order.base}.`,
      'Do not pay there.',
    );
  const { uri = null, ...request } = rail === 'evm' ? await agreeToPay(order, terms, payment_request) : {};
  const purchaseId = String(purchase_id);
  const told = { purchase_id: purchaseId, pay_at: status_url, expires_at: String(expires_at), payment_uri: uri };
  return { ...told, opening: 'id' in request ? { purchaseId, request } : { purchaseId } };
}

export function whereToPay(
  told: Pick<Opened, 'pay_at' | 'payment_uri' | 'expires_at'> & { price?: unknown },
  rail: unknown,
) {
  return columns([
    ['pay', shown(told.price)],
    [rail === 'evm' ? 'see' : 'at', shown(told.pay_at)],
    ...(told.payment_uri === null ? [] : [['by', told.payment_uri] as [string, string]]),
    ...(rail === 'evm' ? [['from', 'a wallet that belongs to your key'] as [string, string]] : []),
    ['until', shown(told.expires_at)],
  ]);
}

/** Throws `WalletFault` when it came to nothing (1), or was not paid as long as somebody waited (2). */
async function untilPaid(order: DeedOrder, opened: Opened, until: number, signal: AbortSignal): Promise<void> {
  const look = lookAt(order, opened, signal);
  while (!signal.aborted && Date.now() < until) {
    const seen = await look(Math.min(LOOK_MS, until - Date.now())).catch((fault: unknown) => {
      // Farebox may be away for a moment, or have too much to do.
      if (fault instanceof WalletFault && fault.exitCode === 2) return 'unknown';
      throw fault;
    });
    if (seen === 'paid') return;
    if (seen === 'unknown') await sleep(PAUSE_MS, undefined, { signal }).catch(() => {});
  }
  throw notDone(
    'The order is not paid yet.',
    signal.aborted ? 'You did not want to wait any longer.' : 'Nobody has paid as long as I was to wait.',
    `It can be paid at ${opened.pay_at} until ${shown(opened.expires_at)}. Run the same again to see how it stands: it is never charged twice.`,
  );
}

/** Looks at the order, as long as nothing happens to it, and then at the payment. */
function lookAt(order: DeedOrder, { purchase_id }: Opened, signal: AbortSignal) {
  let token: string | undefined;
  const seeOrder = (waitMs: number) => {
    const query = new URLSearchParams({ h_contract: order.hContract ?? '', timeout_ms: String(Math.ceil(waitMs)) });
    return talk(order.base, `/orders/${order.orderId}?${query}`, { signal });
  };
  const seePayment = async (): Promise<Reply> => {
    token ??= await signIn(order, 'How the payment stands cannot be seen.');
    const reply = await talk(order.base, `/v1/purchases/${encodeURIComponent(purchase_id)}`, { token, signal });
    if (reply.status === 401) token = undefined; // they live for minutes
    return reply;
  };
  return async (waitMs: number): Promise<'paid' | 'waiting' | 'unknown'> => {
    const seen = await seeOrder(waitMs);
    if (isPaid(seen)) return 'paid';
    if (seen.status !== 402 && seen.status !== 410) return 'unknown';
    const { body } = await seePayment();
    const { status } = body;
    // Both are of one moment there, and not here.
    if (status === 'completed' && isPaid(await seeOrder(0))) return 'paid';
    if (typeof status === 'string' && status in ends) throw (ends[status] as () => WalletFault)();
    if (seen.status === 410 && status === 'pending') throw ended();
    return status === 'pending' ? 'waiting' : 'unknown';
  };
}

function isPaid({ status, body }: Reply): boolean {
  if (status === 200 && body['refunded'] === true)
    throw refused('The order was paid, and its money went back.', 'The shop has given it back.', again);
  return status === 200;
}

const again = 'Open the article again at the shop: it makes a new order.';
const noPayment = (why: string) => refused('The order was not paid.', why, again);
const ended = () => noPayment('Its time is over. Do not pay any more: it would open nothing.');
const ends: Record<string, () => WalletFault> = {
  completed: () =>
    refused(
      'The order was not paid.',
      'The money came when the order did not wait for it any more: it has bought credits instead.',
      'They are on the account of its key. To have the money back: farebox wallet refund, with the same address.',
    ),
  failed: () => noPayment('The payment has failed. Nothing was charged.'),
  expired: () => noPayment('The payment was not made in time. Nothing was charged.'),
  cancelled: () => noPayment('The payment was cancelled. Nothing was charged.'),
  review: () =>
    refused(
      'The order is not paid yet.',
      'The money did not come as agreed, and somebody has to look at it.',
      'Run the same again later: nothing is lost.',
    ),
};

/** Whether the session may read it already. */
async function isOpenTo({ base, orderId, hContract }: DeedOrder, sessionId: string): Promise<boolean> {
  const query = new URLSearchParams({ h_contract: hContract ?? '', session_id: sessionId });
  return (await talk(base, `/orders/${orderId}?${query}`)).status === 200;
}
