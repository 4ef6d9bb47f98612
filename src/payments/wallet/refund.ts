import { askBack } from './ask-back.ts';
import { notDone, refused } from './fault.ts';
import type { Place } from './place.ts';
import { faultOf, talk } from './talk.ts';
import { shown } from './terminal.ts';
import type { Told, Wallet } from './wallet.ts';

/**
 * Tells what of an order has gone back: Farebox gives credits back by itself, so that there is nothing that a wallet could
 * fetch. What was paid for an order that is not paid by it is asked back.
 */
export async function tellRefund(wallet: Wallet, place: Place): Promise<Told> {
  const { purse } = wallet;
  const purchase = purse.find(place);
  const hash = purchase?.hContract ?? place.hContract;
  const orderId = place.orderId;
  if (hash === undefined)
    throw refused(
      'Nothing can be told of a refund.',
      'This wallet has not paid the order.',
      'Use the wallet that has paid, or its address with h_contract=…',
    );
  const reply = await talk(place.base, `/orders/${orderId}?h_contract=${encodeURIComponent(hash)}`);
  const isUnpaid = reply.status === 402 || reply.body['code'] === 'order_expired';
  const asked = isUnpaid && purchase ? await askBack(wallet, purchase) : undefined;
  if (asked) return asked;
  if (isUnpaid) throw refused('There is nothing to give back.', 'The order is not paid.', 'Nothing needs to be done.');
  if (reply.status !== 200) throw faultOf('Nothing can be told of a refund.', reply);
  const { refund_amount: amount, refund_taken: taken, refund_pending: pending, refunded } = reply.body;
  if (purchase && refunded === true) purse.keep({ ...purchase, state: 'given_back' });
  if (amount === 'CREDITS:0')
    throw refused(
      'Nothing has gone back.',
      `The order ${orderId} is paid, and the shop has refunded nothing.`,
      'Ask the shop.',
    );
  if (pending === true || amount !== taken)
    throw notDone(
      `${shown(amount)} are to go back, and have not yet.`,
      'A wallet cannot fetch them: this Farebox has no way for that yet.',
      'Look again later, or ask the shop.',
    );
  throw refused(
    `${shown(amount)} have gone back already.`,
    'They are on the account that paid: there is nothing to fetch.',
    'Nothing needs to be done.',
  );
}
