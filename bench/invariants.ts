import postgres from 'postgres';
import { faultsInBooks } from '../test/harness/books.ts';
import type { BenchDatabase } from './setup/database.ts';

/** What must hold after any load. Speed that costs the books is no speed: one fault, and the benchmark has failed. */

const ROWS_AT_ONCE = 200_000; // transfers that are looked at together; they fit into memory
const SHOWN = 10;

/**
 * Says in words what is wrong. `expected`: runs that were started for certain, and at most so many more. `recompute`:
 * every transfer once more by code that shares nothing with the ledger's, which takes minutes for millions.
 */
export async function faultsAfter(
  database: BenchDatabase,
  expected: { started: number; unheard: number },
  { recompute }: { recompute: boolean },
): Promise<string[]> {
  const client = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
  try {
    const faults = await faultsInRuns(client, expected);
    for (const [from, to] of recompute ? await ranges(client) : []) {
      faults.push(...(await faultsInBooks(database.superuserUrl, { from, to })));
      if (faults.length > SHOWN) break;
    }
    return faults.slice(0, SHOWN).map((fault) => `${database.name}: ${fault}`);
  } finally {
    await client.end();
  }
}

async function faultsInRuns(client: postgres.Sql, expected: { started: number; unheard: number }): Promise<string[]> {
  const [found] = await client<{ runs: number; told: number; unpaired: number; negative: number }[]>`
    select
      (select count(*) from workflows.runs)::int as runs,
      (select count(*) from platform.events where type = 'workflows.run_queued')::int as told,
      (select count(*) from workflows.runs r
        full join (select * from credits.transfers where kind = 'spend' and ref_type = 'run') t
          on t.account_id = r.account_id and t.ref_id = r.id
        where r.cost is distinct from t.amount)::int as unpaired,
      (select count(*) from credits.accounts where available < 0 or held < 0 or debt < 0)::int as negative`;
  if (!found) throw new Error('nothing was counted');
  const { runs, told, unpaired, negative } = found;
  const { started, unheard } = expected;
  const most = started + unheard;
  return [
    ...(runs >= started && runs <= most ? [] : [`${runs} runs are there, ${started} to ${most} were started`]),
    ...(told === runs ? [] : [`${runs} runs, but ${told} of them were told as events`]),
    ...(unpaired === 0 ? [] : [`${unpaired} runs or spends have no counterpart of the same amount`]),
    ...(negative === 0 ? [] : [`${negative} balances are below zero`]),
  ];
}

/** Ranges of accounts with about so many transfers each. */
async function ranges(client: postgres.Sql): Promise<[from: string, to: string][]> {
  const rows = await client<{ from: string; to: string }[]>`
    select min(account_id::text) as from, max(account_id::text) as to
    from (select account_id, sum(seq) over (order by account_id) - seq as before from credits.accounts) a
    group by floor(before / ${ROWS_AT_ONCE}) order by 1`;
  return rows.map(({ from, to }) => [from, to]);
}
