import { findAnvil } from '../../sandbox/chain/anvil.ts';
import type { Corruption } from './ledger-corruptions.ts';

const completed = "(select id from payments.payment_requests where state = 'completed' limit 1)";

/** Payment requests are lived through only where there is a chain. */
export const requestCorruptions: Corruption[] = findAnvil()
  ? [
      [
        'a payment request that was completed by hand',
        `update payments.payment_requests set state = 'completed', completed_at = now(), received = amount where state = 'submitted'`,
        ['P07', 'P08'],
      ],
      [
        'a settlement that was cut',
        'update payments.settlements set amount = amount - 1 where gone_at is null',
        ['P08'],
      ],
      [
        'a settlement on another chain',
        "update payments.settlements set chain = 'eip155:1' where gone_at is null",
        ['P08'],
      ],
      [
        'a payment that came after the end',
        "update payments.settlements set block_time = block_time + interval '1 year' where gone_at is null",
        ['P08'],
      ],
      [
        'terms that were changed, and their hash with them',
        `update payments.payment_requests set terms = terms || ' ', terms_hash = encode(sha256(convert_to(terms || ' ', 'UTF8')), 'hex')
          where id = ${completed}`,
        ['P10'],
      ],
      [
        'a request that was agreed to by an answer about another',
        `update payments.payment_requests set challenge_id = gen_random_uuid() where id = ${completed}`,
        ['P10'],
      ],
      [
        'a request that nobody ended',
        "update payments.payment_requests set expires_at = now() - interval '11 minutes' where state = 'pending'",
        ['P25'],
      ],
      [
        'a transaction that nobody looks at any more',
        "update payments.request_transactions set next_check_at = now() - interval '16 minutes'",
        ['P26'],
      ],
      [
        'a purchase on chain that was completed by hand',
        `update payments.purchases set state = 'completed', completed_at = now() where method = 'crypto' and state = 'pending'`,
        ['P01', 'P06', 'P18', 'P19'],
      ],
      [
        'a purchase on chain whose request stands elsewhere',
        `update payments.purchases set state = 'cancelled', completed_at = null where method = 'crypto' and state = 'completed'`,
        ['P02', 'P06', 'P18'],
      ],
      [
        'a completion whose credits never came',
        "update credits.transfers set ref_id = gen_random_uuid() where ref_type = 'completion' and kind = 'purchase'",
        ['L09', 'P01', 'P03', 'P09'],
      ],
      [
        'a completion that was undone, and whose credits have stayed',
        'update payments.completions set reversed_at = now() where reversed_at is null',
        ['P01', 'P07', 'P09'],
      ],
      [
        'a completion of more credits than were given',
        `update payments.payment_requests set credits = credits + 1 where id = ${completed}`,
        ['P09'],
      ],
    ]
  : [];
