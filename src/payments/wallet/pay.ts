import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { checkAgreement, checkSigned } from './agreement.ts';
import { type DeedOrder, doDeed } from './deeds.ts';
import { payElsewhere } from './elsewhere.ts';
import { notDone, refused, WalletFault } from './fault.ts';
import { newKey } from './keys.ts';
import { isPrivateWay, type Place } from './place.ts';
import { type PayRail, priceBy } from './price.ts';
import { keyOfPurchase, requireConsent, showPaid, standingOf, toldOf } from './prove.ts';
import type { Purchase, Terms } from './purse.ts';
import { faultOf, talk } from './talk.ts';
import { columns, shown } from './terminal.ts';
import type { Told, Wallet } from './wallet.ts';

/** How it is paid; and whose credits pay, when the wallet's DID opens no account. */
export interface Payer {
  rail?: PayRail | undefined;
  /** Seconds, where another than this wallet has to be paid; 0: not at all. */
  waitS?: number | undefined;
  token?: string | undefined;
  /** E-mail address; the password is on standard input. */
  login?: string | undefined;
}

/**
 * Takes an order and pays it, once: what this wallet has paid is shown for the browser instead. Every step can be cut off
 * and done again; what was begun is on the disk before anybody is asked for it.
 */
export async function pay(wallet: Wallet, place: Place, payer: Payer): Promise<Told> {
  const hasSecret = payer.token !== undefined || payer.login !== undefined;
  if (hasSecret && !isPrivateWay(place))
    throw notDone(
      'Nothing was paid.',
      `${place.base} would be told a password or token without encryption.`,
      'Use its https address.',
    );
  const { rail = 'credits', waitS = 0 } = payer;
  if (hasSecret && rail !== 'credits')
    throw notDone('Nothing was paid.', '--token and --login are for credits.', `Leave them away with --rail ${rail}.`);
  const password = payer.login === undefined ? undefined : await wallet.terminal.readSecret('Password: ');
  const known = wallet.purse.find(place);
  if (known && (await standingOf(known)) !== 'unpaid') return showOrRefuse(wallet, known, place.sessionId);
  if (rail === 'evm') requireOwnKey(wallet, known);
  const { purchase, boughtBefore } = known
    ? await claim(wallet, place, known)
    : await claimFirst(wallet, place, begin(wallet, place));
  const before = boughtBefore && (await showAgain(wallet, boughtBefore, place.sessionId));
  if (before) return before;
  const own = await showOlder(wallet, purchase, place.sessionId);
  if (own) return own;
  await requireYes(wallet, purchase, place.sessionId, rail);
  if (rail !== 'credits')
    return payElsewhere(wallet, orderOf(wallet, purchase), purchase, place.sessionId, { rail, waitS });
  const token = payer.token ?? (password === undefined ? undefined : await logIn(place, payer.login ?? '', password));
  return settle(wallet, purchase, place.sessionId, token);
}

/** The chain must tell who has paid: by a wallet that belongs to the key. */
function requireOwnKey({ key }: Wallet, known: Purchase | undefined): void {
  if (known ? known.keyFile !== undefined : key !== undefined) return;
  throw notDone(
    'Nothing was paid.',
    'A fresh key has no wallet on the chain, so that nobody could tell who has paid.',
    'Name a key for a new order with --key: one of secp256k1 is a wallet itself, one of Ed25519 can have one linked to its DID.',
  );
}

function begin({ purse, key, keyFile }: Wallet, { base, orderId }: Place): Purchase {
  const used = key ?? newKey();
  const mine =
    key && keyFile !== undefined ? { keyFile: resolve(keyFile) } : { secret: used.secret.toString('base64url') };
  return purse.begin({
    base,
    orderId,
    did: used.did,
    nonce: randomBytes(24).toString('base64url'),
    state: 'begun',
    ...mine,
  });
}

async function showOrRefuse(wallet: Wallet, paid: Purchase, sessionId: string | null): Promise<Told> {
  if (paid.state === 'claimed') wallet.purse.keep({ ...paid, state: 'paid' });
  const told = await showAgain(wallet, paid, sessionId);
  if (told) return told;
  throw refused(
    'Nothing was paid.',
    `The order ${paid.orderId} was paid, and its money went back.`,
    'Open the article again at the shop: it makes a new order.',
  );
}

const orderOf = (wallet: Wallet, purchase: Purchase): DeedOrder => ({
  ...{ base: purchase.base, orderId: purchase.orderId, hContract: purchase.hContract ?? null },
  key: keyOfPurchase(wallet, purchase),
});

/** The same wallet and nonce get the same contract, however often. */
async function claim(wallet: Wallet, place: Place, purchase: Purchase) {
  const { did, nonce } = purchase;
  // An address from after the claim has no token; what was agreed to is known here then.
  if (purchase.hContract !== undefined && place.token === undefined) return { purchase, boughtBefore: undefined };
  const wish = { did, nonce, ...(place.token === undefined ? {} : { token: place.token }) };
  const told = await doDeed(
    orderOf(wallet, purchase),
    { action: 'claim', nonce },
    { wish, to: 'claim', what: 'The order was not taken.' },
  );
  const agreed = await checkAgreement(told, purchase);
  const claimed: Purchase = { ...purchase, ...agreed, state: purchase.state === 'begun' ? 'claimed' : purchase.state };
  wallet.purse.keep(claimed);
  return { purchase: claimed, boughtBefore: boughtBefore(wallet, claimed, told) };
}

/** A new key that gets a no is worth nothing. Of one that was there before an answer may have been lost: that one stays. */
function claimFirst(wallet: Wallet, place: Place, purchase: Purchase) {
  return claim(wallet, place, purchase).catch((fault: unknown) => {
    const isClaimed = wallet.purse.find(place)?.hContract !== undefined;
    if (!isClaimed && fault instanceof WalletFault && fault.exitCode === 1) wallet.purse.drop(purchase);
    throw fault;
  });
}

/** What the service remembers of this key, when the wallet does not. */
function boughtBefore({ purse }: Wallet, claimed: Purchase, told: Record<string, unknown>): Purchase | undefined {
  const { already_paid_order_id: orderId, already_paid_h_contract: hContract } = told;
  if (typeof orderId !== 'string' || typeof hContract !== 'string') return undefined;
  if (!/^[A-Za-z0-9._-]{1,60}$/.test(orderId) || orderId === claimed.orderId) return undefined;
  const { signature: _ofAnother, terms = {}, ...mine } = claimed;
  const same = ['merchant', 'fulfillment_url', 'summary', 'amount'].map((name) => [name, terms[name] ?? null]);
  return (
    purse.find({ base: claimed.base, orderId }) ??
    ({ ...mine, orderId, hContract, terms: Object.fromEntries(same), state: 'paid' } satisfies Purchase)
  );
}

/** Other orders for the same address, from the same shop, that this wallet has paid with whichever key. */
async function showOlder(
  wallet: Wallet,
  { base, terms }: Purchase,
  sessionId: string | null,
): Promise<Told | undefined> {
  const opens = { fulfillmentUrl: terms?.['fulfillment_url'], merchant: terms?.['merchant'] };
  for (;;) {
    const older = wallet.purse.findOpening(base, opens);
    if (!older) return undefined;
    const told = await showAgain(wallet, older, sessionId); // when its money went back, it is not found again
    if (told) return told;
  }
}

/** What is paid is not paid again. Undefined when the money went back. */
async function showAgain(wallet: Wallet, paid: Purchase, sessionId: string | null): Promise<Told | undefined> {
  if ((await standingOf(paid)) === 'given_back') {
    wallet.purse.keep({ ...paid, state: 'given_back' });
    return undefined;
  }
  if (sessionId !== null) {
    await requireConsent(wallet, paid, sessionId);
    if (!(await showPaid(wallet, paid, sessionId))) return undefined;
  }
  return toldOf(paid, sessionId, 'already_paid');
}

async function requireYes(wallet: Wallet, purchase: Purchase, sessionId: string | null, rail: PayRail): Promise<void> {
  const terms = purchase.terms ?? {};
  const price = priceBy(terms, rail);
  if (price === undefined)
    throw refused('Nothing was paid.', `The order has no price by ${rail}.`, 'Run it again with another --rail.');
  if (wallet.isSure) return;
  const question = ['', ...contractLines(terms, price, purchase.base, sessionId), '', `Pay ${price}?`].join('\n');
  if (await wallet.terminal.confirm(question)) return;
  await giveUp(wallet, purchase);
  throw refused('Nothing was paid.', 'You did not say yes.', 'Run it again, or with --yes.');
}

/** So that another wallet can take it. Whether that works or not, nothing is owed. */
async function giveUp(wallet: Wallet, purchase: Purchase): Promise<void> {
  const { hContract = '' } = purchase;
  const what = 'The order was not given up.';
  await doDeed(
    orderOf(wallet, purchase),
    { action: 'unclaim' },
    { wish: { h_contract: hContract }, to: 'unclaim', what },
  )
    .then(() => wallet.purse.drop(purchase))
    .catch(() => {});
}

function contractLines(terms: Terms, price: string, base: string, sessionId: string | null): string[] {
  const merchant = (terms['merchant'] as { account?: string } | undefined)?.account;
  const end = Number((terms['pay_deadline'] as { t_s?: number } | undefined)?.t_s);
  return columns([
    ['what', shown(terms['summary'])],
    ['price', price],
    ['shop', `${shown(merchant)} at ${base}`],
    ['leads to', shown(terms['fulfillment_url'] ?? terms['fulfillment_message'] ?? 'no address')],
    [
      'pay by',
      Number.isFinite(end)
        ? new Date(end * 1000)
            .toISOString()
            .replace(/:\d\d\.000Z$/, ' UTC')
            .replace('T', ' ')
        : 'unknown',
    ],
    ['opens in', sessionId === null ? 'no browser yet' : `the browser that shows session ${sessionId}`],
  ]);
}

async function logIn({ base }: Place, email: string, password: string): Promise<string> {
  const reply = await talk(base, '/v1/auth/login', { body: { email, password } });
  const token = reply.body['access_token'];
  if (reply.status !== 200 || typeof token !== 'string') throw faultOf('Nothing was paid.', reply);
  return token;
}

async function settle(
  wallet: Wallet,
  purchase: Purchase,
  sessionId: string | null,
  token: string | undefined,
): Promise<Told> {
  const { base, orderId, hContract = '' } = purchase;
  const reply = await doDeed(
    orderOf(wallet, purchase),
    { action: 'pay', rail: 'credits', sessionId },
    {
      wish: { h_contract: hContract, session_id: sessionId, rail: 'credits' },
      to: 'pay',
      token,
      what: 'The order was not paid.',
    },
  );
  const paid: Purchase = { ...purchase, state: 'paid', receipt: String(reply['sig']) };
  wallet.purse.keep(paid); // first of all: the money is gone, whatever the receipt looks like
  await checkSigned(base, reply['sig'], { type: 'order-paid+jwt', orderId, hContract });
  return toldOf(paid, sessionId, 'paid');
}
