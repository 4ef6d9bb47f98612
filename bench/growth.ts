import { setTimeout as sleep } from 'node:timers/promises';
import { type Customer, read } from './http.ts';
import type { Load } from './pgbench.ts';
import type { Child } from './setup/children.ts';
import { accountId } from './setup/numbers.ts';
import type { Server } from './setup/server.ts';

const PAGE = 20;
const END = (2n ** 63n - 1n).toString();
const SEEN_WITHIN_MS = 5_000;

/**
 * The history page as the server asks for it: a customer reads one, and the statement is taken from the list of what the
 * server's connections did last. So it is always the present one.
 */
export async function historyLoad(
  server: Server,
  database: string,
  farebox: Child,
  customer: Customer,
  readers: { from: number; to: number },
): Promise<Load> {
  const page = read(`/v1/credits/transfers?limit=${PAGE}`, customer);
  for (const end = Date.now() + SEEN_WITHIN_MS; Date.now() < end; await sleep(50)) {
    const reply = await fetch(farebox.url + page.path, { headers: page.headers ?? {} });
    if (!reply.ok) throw new Error(`no history page: ${reply.status}`);
    const [seen] = await server.admin<{ query: string }[]>`
      select query from pg_stat_activity
      where datname = ${database} and application_name = 'farebox:main'
        and query like '%from "credits"."transfers"%' and query like '%limit%' limit 1`;
    if (seen) return loadOf(seen.query, readers);
  }
  throw new Error('the statement of the history page was not seen');
}

/** Its parameters: the account, the position before which the page begins, and the size with one more to see an end. */
function loadOf(text: string, readers: { from: number; to: number }): Load {
  const numbers = [...new Set(text.match(/\$\d+/g))].sort().join(' ');
  if (numbers !== '$1 $2 $3') throw new Error(`the history page has other parameters by now: ${text}`);
  return {
    text,
    sets: ['\\set account random(:from, :to)'],
    defines: () => ({ ...readers, before: END, size: PAGE + 1 }),
    parameters: [accountId.sql(':account'), ':before::bigint', ':size::bigint'],
    next: () => [
      accountId.of(readers.from + Math.floor(Math.random() * (readers.to - readers.from + 1))),
      END,
      PAGE + 1,
    ],
  };
}
