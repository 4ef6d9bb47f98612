/** What may have gone wrong, as SQL that does it with all rights, and the invariants that tell of it. */
export type Corruption = [what: string, how: string, broken: string[]];

/** The account with the most lines, as `busy`; a line of it, as `line`. */
const busy = '(select account_id from credits.accounts order by seq desc limit 1)';
const line = (seq: string) => `account_id = ${busy} and seq = ${seq}`;
const middle = '(select max(seq) / 2 from credits.transfers)';
const lastLine = '(select max(seq) from credits.transfers)';
const runLine = (kind: string) =>
  `(account_id, seq) = (select account_id, seq from credits.transfers where kind = '${kind}' limit 1)`;

/** Gives a line the hash that it should have, and all after it in its account: a forger who knows the rules. */
const rehash = `do $$
  declare
    t credits.transfers;
    previous bytea := '';
  begin
    for t in select * from credits.transfers where account_id = ${busy} order by seq loop
      previous := credits.transfer_hash(previous, t.account_id, t.seq, t.id, t.kind, t.debit, t.credit, t.amount,
        t.available_after, t.held_after, t.debt_after, t.ref_type, t.ref_id, t.parent_id, t.memo, t.created_at);
      update credits.transfers set hash = previous where account_id = t.account_id and seq = t.seq;
    end loop;
    update credits.accounts set head_hash = previous where account_id = ${busy};
  end $$`;

export const ledgerCorruptions: Corruption[] = [
  [
    'a balance that was raised',
    `update credits.accounts set available = available + 1 where account_id = ${busy}`,
    ['L03'],
  ],
  ['a balance of another account', `update credits.accounts set held = held + 5 where account_id <> ${busy}`, ['L03']],
  [
    'a balance below zero',
    `alter table credits.accounts drop constraint accounts_available;
      update credits.accounts set available = -1 where account_id = ${busy}`,
    ['L03', 'L05'],
  ],
  ['a changed amount', `update credits.transfers set amount = amount + 1 where ${line('3')}`, ['L07', 'L09']],
  [
    'a changed amount of a spend',
    `update credits.transfers set amount = 1 where ${runLine('spend')}`,
    ['L07', 'L09', 'W01', 'W02'],
  ],
  [
    'a changed amount, hashed anew by somebody who knows how',
    `update credits.transfers set amount = amount + 1 where ${line('3')}; ${rehash}`,
    ['L07'],
  ],
  [
    'a running balance that jumps, hashed anew',
    `update credits.transfers set available_after = available_after + 100 where account_id = ${busy} and seq >= ${middle};
      update credits.accounts set available = available + 100 where account_id = ${busy}; ${rehash}`,
    ['L07'],
  ],
  [
    'a history below zero, hashed anew',
    `alter table credits.transfers drop constraint transfers_held_after;
      update credits.transfers set held_after = held_after - 10 where ${line(lastLine)};
      alter table credits.accounts drop constraint accounts_held;
      update credits.accounts set held = (select held_after from credits.transfers where ${line(lastLine)}) where account_id = ${busy};
      update credits.transfers set held_after = -3 where ${line(middle)}; ${rehash}`,
    ['L06', 'L07'],
  ],
  ['a changed memo', `update credits.transfers set memo = 'x' where ${line('3')}`, ['L09']],
  ['a memo that became empty', `update credits.transfers set memo = '' where ${line('3')}`, ['L09']],
  [
    'a time that moved by a microsecond',
    `update credits.transfers set created_at = created_at + interval '1 us' where ${line('1')}`,
    ['L09'],
  ],
  ['a changed hash', `update credits.transfers set hash = sha256('x') where ${line(middle)}`, ['L09']],
  [
    'a changed hash of the last line, in the account as well',
    `update credits.transfers set hash = sha256('x') where ${line(lastLine)};
      update credits.accounts set head_hash = sha256('x') where account_id = ${busy}`,
    ['L09'],
  ],
  ['a changed head', `update credits.accounts set head_hash = sha256('x') where account_id = ${busy}`, ['L13']],
  ['a removed line', `delete from credits.transfers where ${line('3')}`, ['L08']],
  ['a removed first line', `delete from credits.transfers where ${line('1')}`, ['L08']],
  ['a removed last line', `delete from credits.transfers where ${line(lastLine)}`, ['L03', 'L12', 'L13']],
  [
    'a removed line, and those after it moved up and hashed anew',
    `delete from credits.transfers where ${runLine('adjust')};
      update credits.transfers t set seq = n from (
        select seq as was, row_number() over (order by seq) as n from credits.transfers where account_id = ${busy}) moved
      where t.account_id = ${busy} and t.seq = was and was <> n and t.seq + 1000 > 0;
      update credits.accounts set seq = (select max(seq) from credits.transfers where account_id = ${busy}) where account_id = ${busy};
      ${rehash}`,
    ['L07'],
  ],
  [
    'two lines that changed places',
    `alter table credits.transfers drop constraint transfers_seq;
      update credits.transfers set seq = -seq where account_id = ${busy} and seq in (2, 3);
      update credits.transfers set seq = 5 + seq where account_id = ${busy} and seq < 0`,
    ['L07', 'L09'],
  ],
  [
    'a line at the end that nobody counted',
    `insert into credits.transfers select account_id, seq + 1, gen_random_uuid(), 'adjust', 'issued', 'available', 1,
      available_after + 1, held_after, debt_after, 'adjust', gen_random_uuid(), null, null, now(), sha256('x')
      from credits.transfers where ${line(lastLine)}`,
    ['L09', 'L13', 'L18'],
  ],
  ['a line without an account', `delete from credits.accounts where account_id = ${busy}`, ['L16']],
  [
    'an account that has credits and no lines',
    `insert into credits.accounts (account_id, available) select id, 1000 from identity.accounts
      where id not in (select account_id from credits.accounts) limit 1`,
    ['L03'],
  ],
  [
    'credits of nobody',
    `update identity.accounts set id = gen_random_uuid() where id = ${busy}`,
    ['I04', 'P20', 'W09'],
  ],
  [
    'a route that does not exist, hashed anew',
    `alter table credits.transfers drop constraint transfers_routes;
      update credits.transfers set debit = 'linked' where ${line('2')} or (account_id = ${busy} and kind = 'grant'); ${rehash}`,
    ['L01'],
  ],
  [
    'debt beside credits',
    `update credits.accounts set debt = 5 where account_id = ${busy} and available > 0`,
    ['L03', 'L15'],
  ],
  [
    'credits given by the ledger’s own door, and nobody says why',
    `select credits.post(${busy}, 'grant', 1000, 'grant', gen_random_uuid(), null, null)`,
    ['L18'],
  ],
  [
    'a return of more than was spent, by the ledger’s own door',
    `select credits.post(account_id, 'return', amount + 1, 'run', ref_id, id, null) from credits.transfers s
      where kind = 'spend' and not exists (select from credits.transfers r where r.kind = 'return' and r.ref_id = s.ref_id) limit 1`,
    ['L14', 'W02'],
  ],
  [
    'a return for no spend at all',
    `select credits.post(${busy}, 'return', 5, 'run', gen_random_uuid(), null, null)`,
    ['L14', 'W02'],
  ],
  [
    'a hold that captured more than its transfers',
    "update credits.holds set captured = captured + 1 where for_type = 'test'",
    ['L12'],
  ],
  [
    'a hold that gave more than it had',
    `alter table credits.holds drop constraint holds_spent_once; update credits.holds set released = amount where for_type = 'test'`,
    ['L12'],
  ],
  ['a hold that vanished', "delete from credits.holds where for_type = 'test'", ['L17']],
];
