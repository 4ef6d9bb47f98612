import { findAnvil } from '../../sandbox/chain/anvil.ts';
import type { Corruption } from './ledger-corruptions.ts';

const partly = "(select id from payments.purchases where state = 'partially_refunded' limit 1)";

export const refundCorruptions: Corruption[] = [
  [
    'a purchase that says more money is spoken for than is',
    `update payments.purchases set refund_amount = refund_amount + 1 where id = ${partly}`,
    ['R01'],
  ],
  [
    'a purchase that says more credits are spoken for than are',
    `update payments.purchases set refund_credits = refund_credits + 1 where id = ${partly}`,
    ['R05'],
  ],
  [
    'a purchase that knows nothing of its refund',
    `alter table payments.purchases drop constraint purchases_refunded;
      update payments.purchases set state = 'completed' where id = ${partly}`,
    ['R06'],
  ],
  [
    'a refund of money whose credits were never taken',
    "update credits.transfers set ref_id = gen_random_uuid() where kind = 'capture' and ref_type = 'refund'",
    ['L09', 'R03'],
  ],
  ['a refund of money that nobody has paid', 'delete from refunds.payouts where refund_id is not null', ['R04']],
  [
    'a refund that came to nothing and kept the credits',
    "update credits.transfers set ref_id = gen_random_uuid() where kind = 'release' and ref_type = 'refund'",
    ['L09', 'R07'],
  ],
  [
    'a refund of a run for more than the run gave back',
    "update refunds.refunds set credits = credits + 1 where subject_type = 'run'",
    ['R08'],
  ],
  ['a refund that nobody has asked for', "delete from refunds.history where what = 'requested'", ['R09']],
  [
    'a refund that nobody goes on with',
    "update refunds.refunds set next_step_at = now() - interval '16 minutes' where state = 'reserved'",
    ['R11'],
  ],
  ['a claw-back of more than was taken', 'update refunds.clawbacks set credits = credits + 1', ['R05', 'R06', 'R12']],
  ['payouts that can be changed', 'alter table refunds.payouts disable trigger payouts_append_only', ['R13']],
  ...((findAnvil()
    ? [
        [
          'a payment request that says more of its excess is spoken for than is',
          'update payments.payment_requests set refund_excess = refund_excess + 1 where refund_excess > 0',
          ['R02'],
        ],
        [
          'a refund on chain that the holder of the DID has not asked for',
          "update refunds.refunds set challenge_id = gen_random_uuid() where subject_type = 'payment_request'",
          ['R10'],
        ],
      ]
    : []) as Corruption[]),
];
