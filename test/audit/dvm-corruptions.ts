import type { Corruption } from './ledger-corruptions.ts';

const job = (where: string) => `id = (select id from workflows.nostr_jobs where ${where} limit 1)`;
const word = (where: string) => `id = (select id from workflows.nostr_events where ${where} limit 1)`;
const [done, open] = ['closed_at is not null and run_id is not null', 'closed_at is null and run_id is not null'];

export const dvmCorruptions: Corruption[] = [
  ['a job that was opened again', `update workflows.nostr_jobs set closed_at = null where ${job(done)}`, ['N01']],
  [
    'a job without its last word',
    `update workflows.nostr_events set is_last = false where ${word('is_last')}`,
    ['N01'],
  ],
  [
    'a last word that was not the last',
    `update workflows.nostr_events set is_last = false where is_last;
      update workflows.nostr_events n set is_last = true from workflows.nostr_jobs j where n.job_id = j.id and j.closed_at is not null and n.seq = 1`,
    ['N01'],
  ],
  [
    'a word that was taken back',
    `delete from workflows.nostr_events where ${word('seq = 2 and not is_last')}`,
    ['N02'],
  ],
  [
    'a word that is older than the one before it',
    `update workflows.nostr_events set event = jsonb_set(event::jsonb, '{created_at}', '1') where ${word('is_last and seq > 1')}`,
    ['N02'],
  ],
  ['a job that forgot when it spoke', `update workflows.nostr_jobs set last_word_at = 1 where ${job(open)}`, ['N02']],
  [
    'a word that asks for too much',
    'update workflows.nostr_events set amount_msat = amount_msat * 2 where ask_id is not null',
    ['N03', 'N08'],
  ],
  [
    "a word about somebody else's ask",
    `update workflows.nostr_events n set ask_id = (select a.id from workflows.asks a where a.account_id <> j.account_id limit 1)
      from workflows.nostr_jobs j where j.id = n.job_id and j.closed_at is null and n.ask_id is not null`,
    ['N03', 'N08'],
  ],
  [
    "a job with somebody else's run",
    `update workflows.nostr_jobs set run_id = (select id from workflows.runs where idempotency_key not like 'nostr:%' limit 1) where ${job(open)}`,
    ['N04'],
  ],
  [
    'a zap that brought more than was paid',
    `update payments.arrivals set evidence = jsonb_set(evidence, '{amount_msat}', '"1000"') where evidence ->> 'receipt_id' is not null`,
    ['N05'],
  ],
  [
    'a zap for what was never asked',
    `update workflows.nostr_events set ask_id = null, amount_msat = null where ask_id in (select for_id from payments.arrivals where rail = 'lightning')`,
    ['N05', 'N08'],
  ],
  [
    'an invoice that is none of ours',
    `update workflows.nostr_events set event = regexp_replace(event::text, '"amount"\\s*,\\s*"(\\d+)"', '"amount","\\1","lnbcrt1"')::json where ask_id is not null`,
    ['N08'],
  ],
  [
    'a run that nobody knows of',
    `update workflows.nostr_jobs set run_id = null, closed_at = now() - interval '11 minutes' where ${job(done)}`,
    ['N06'],
  ],
  [
    'a job that nobody begins',
    `update workflows.nostr_jobs set run_id = null, created_at = now() - interval '11 minutes' where ${job(open)}`,
    ['N07'],
  ],
];
