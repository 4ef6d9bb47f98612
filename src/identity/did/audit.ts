import type { Check, Walk } from '../../platform/audit/check.ts';

/** What must hold of DIDs: nobody has got in, and no wallet was linked, but by an answer that was good once. */

const challenges: Walk = {
  name: 'challenges',
  table: 'identity.did_challenges',
  as: 'c',
  key: [['id', 'uuid']],
};

const dids: Walk = { name: 'DIDs', table: 'identity.dids', as: 'd', key: [['id', 'uuid']] };

const wallets: Walk = {
  name: 'linked wallets',
  table: 'identity.wallets',
  as: 'w',
  key: [['id', 'uuid']],
  join: 'left join identity.dids d on d.id = w.did_id',
};

/** The answer that somebody got in by; the row names it, and it was for just that. */
const answered = (row: string, what: string) => `(
  select c.id from identity.did_challenges c
  where c.id = ${row}.challenge_id and c.did = d.did and c.consumed_at is not null and ${what}) is not null`;

const forTheAccount = `c.subject_type = 'account' and c.subject_id = d.account_id`;

export const didChecks: Check[] = [
  {
    id: 'I01',
    rule: 'A challenge is answered in time and used once, and each has a nonce of its own',
    over: challenges,
    broken: `c.expires_at > c.created_at + interval '5 minutes' or c.attempts not between 0 and 5
      or (c.consumed_at is not null and (c.attempts = 0 or c.consumed_at not between c.created_at and c.expires_at))
      or (select count(*) from identity.did_challenges other where other.nonce = c.nonce) > 1
      or (select count(*) from identity.dids d where d.challenge_id = c.id)
        + (select count(*) from identity.wallets w where w.challenge_id = c.id) > 1`,
  },
  {
    id: 'I07',
    rule: 'A DID opens one account: the one that it has opened, or has agreed to be linked to',
    over: dids,
    broken: `(select count(*) from identity.dids other where other.did = d.did) > 1
      or (d.did like 'did:pkh:%' and d.wallet is distinct from right(d.did, 42))
      or not (${answered('d', `(c.purpose = 'link' and ${forTheAccount})`)} or ${answered('d', "c.purpose in ('login', 'payment', 'order')")} and (
        select g.seq from platform.audit_log g
        where g.subject_id = d.account_id::text and g.action = 'identity.did_account_opened'
          and position(d.did in g.detail) > 0 limit 1) is not null)`,
  },
  {
    id: 'I08',
    rule: 'A wallet is linked to a DID by an answer of both, to the account that the DID opens',
    over: wallets,
    broken: `d.id is null or not ${answered('w', `c.purpose = 'wallet' and c.wallet = w.address and ${forTheAccount}`)}`,
  },
];
