import type { Corruption } from './ledger-corruptions.ts';

const linked = `(select d.id from identity.dids d join identity.did_challenges c on c.id = d.challenge_id where c.purpose = 'link' limit 1)`;
const opener = `(select d.id from identity.dids d join identity.did_challenges c on c.id = d.challenge_id where c.purpose = 'login' limit 1)`;
const somebodyElse = "(select id from identity.accounts where role = 'operator' limit 1)";

export const didCorruptions: Corruption[] = [
  [
    'a challenge that was used after its end',
    `alter table identity.did_challenges drop constraint did_challenges_in_time;
      update identity.did_challenges set consumed_at = expires_at + interval '1 second' where purpose = 'link'`,
    ['I01'],
  ],
  [
    'a challenge that lived for a day',
    `alter table identity.did_challenges drop constraint did_challenges_lifetime;
      update identity.did_challenges set expires_at = expires_at + interval '1 day'`,
    ['I01'],
  ],
  [
    'a nonce that was given out twice',
    `drop index identity.did_challenges_nonce;
      update identity.did_challenges set nonce = repeat('0', 32)`,
    ['I01'],
  ],
  [
    'one answer by which two DIDs got in',
    `drop index identity.dids_challenge;
      update identity.dids set challenge_id = (select challenge_id from identity.dids where id = ${opener}) where id = ${linked}`,
    ['I01', 'I07'],
  ],
  [
    'a DID that was put on the account of somebody else',
    `update identity.dids set account_id = ${somebodyElse} where id = ${linked}`,
    ['I07', 'I08'],
  ],
  [
    'a DID that has opened an account and was moved to another',
    `update identity.dids set account_id = ${somebodyElse} where id = ${opener}`,
    ['I07', 'I09'],
  ],
  [
    'a DID whose answer was never given',
    `update identity.did_challenges set consumed_at = null where purpose = 'link'`,
    ['I07'],
  ],
  [
    'a did:pkh with the address of somebody else',
    `update identity.dids set wallet = '0x' || repeat('0', 40) where did like 'did:pkh:%'`,
    ['I07'],
  ],
  ['a wallet that nobody has linked', "update identity.wallets set address = '0x' || repeat('0', 40)", ['I08']],
  ['a wallet of no DID', 'update identity.wallets set did_id = gen_random_uuid()', ['I08']],
  ['an account that nobody can open', `delete from identity.dids where id = ${opener}`, ['I09']],
];
