import { answerTo, type DeedOrder } from './deeds.ts';
import { refused } from './fault.ts';
import { keyOfPurchase, toldOf } from './prove.ts';
import type { Opening, Purchase } from './purse.ts';
import { signIn } from './sign-in.ts';
import { faultOf, talk } from './talk.ts';
import { shown } from './terminal.ts';
import type { Told, Wallet } from './wallet.ts';

/**
 * Money that came when the order did not wait for it any more has bought credits, which nobody but the wallet's key can reach:
 * it is asked back. Again is the same refund, and tells how that stands.
 */

const what = 'Nothing was asked back.';
const CAME = ['completed', 'partially_refunded', 'refunded'];

/** `undefined` when no such money has come. */
export async function askBack(wallet: Wallet, purchase: Purchase): Promise<Told | undefined> {
  const { base, orderId, hContract = null, openings = [] } = purchase;
  if (openings.length === 0) return undefined;
  const order = { base, orderId, hContract, key: keyOfPurchase(wallet, purchase) };
  const token = await signIn(order, what);
  for (const opening of openings) {
    const { body } = await talk(base, `/v1/purchases/${encodeURIComponent(opening.purchaseId)}`, { token });
    if (!CAME.includes(String(body['status']))) continue;
    const question = `The money for the order ${orderId} came too late, and has bought credits. Ask for it back?`;
    if (!wallet.isSure && !(await wallet.terminal.confirm(question)))
      throw refused(what, 'You did not say yes.', 'Run it again, or with --yes.');
    return { ...toldOf(purchase, null, 'asked_back'), ...(await ask(order, opening, token)) };
  }
  return undefined;
}

async function ask(order: DeedOrder, { purchaseId, request }: Opening, token: string) {
  const subject = request ? { type: 'payment_request', id: request.id } : { type: 'purchase', id: purchaseId };
  const known = await talk(order.base, '/v1/refunds?limit=100', { token });
  const before = (Array.isArray(known.body['data']) ? known.body['data'] : []).find(
    (one) => one?.subject?.id === subject.id,
  );
  if (before) return refundOf(before);
  const proof = request && (await proofFor(order, request, token));
  const body = { subject, reason: 'the order did not wait for it any more', ...(proof ? { proof } : {}) };
  const reply = await talk(order.base, '/v1/refunds', { body, token, key: `wallet-${purchaseId}` });
  if (reply.status !== 201) throw faultOf(what, reply);
  return refundOf(reply.body);
}

const refundOf = ({ id, status, amount }: Record<string, unknown>) => ({
  ...{ refund_id: shown(id), refund_status: shown(status), refund_amount: shown(amount) },
});

/** What was paid on chain goes back to the holder of the DID only. */
async function proofFor(order: DeedOrder, { id, termsHash }: { id: string; termsHash: string }, token: string) {
  const asked = await talk(order.base, '/v1/refunds/challenges', { body: { payment_request_id: id }, token });
  if (asked.status !== 201) throw faultOf(what, asked);
  const { challenge_id, proof } = await answerTo(asked.body, order, { purpose: 'refund', termsHash }, what);
  return { challenge_id, answer: proof };
}
