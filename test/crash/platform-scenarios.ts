import { expect } from 'vitest';
import { brokenSeals } from '../../src/platform/audit-log.ts';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import { type EventStream, listen } from '../workflows/event-stream.ts';
import type { Cell, Scenario } from './cell.ts';
import { ageRuns, ends, type Running, ready, startIt } from './run-scenarios.ts';

/** Something that was written into the audit log, and is to be sealed. */
interface Sealing {
  customer: Client;
}

const sealed: Scenario<Sealing> = {
  name: 'the audit log is sealed',
  points: ['platform.audit.before_seal_commit', 'platform.audit.after_seal_commit'],
  isImpatient: true,
  set: async (stage) => ({ customer: await stage.customer(10) }),
  play: async (cell) => {
    await cell.until('everything is sealed', async () => {
      const [row] = await cell.stage.sql`
        select count(*)::int as open from platform.audit_log
        where (xid, seq) > (select until_xid, until_seq from platform.audit_seals order by id desc limit 1)`;
      return row?.['open'] === 0;
    });
  },
  check: async ({ sql, farebox }) => {
    const database = await openDatabase({ url: farebox.database.superuserUrl, pool: 1 });
    try {
      expect(await brokenSeals(database.db)).toEqual([]);
    } finally {
      await database.close();
    }
    const [row] = await sql`
      select (select coalesce(sum(rows), 0)::int from platform.audit_seals) as sealed, count(*)::int as rows,
        (select max(id) = count(*) from platform.audit_seals) as gapless from platform.audit_log
      where (xid, seq) <= (select until_xid, until_seq from platform.audit_seals order by id desc limit 1)`;
    expect(row?.['sealed'], 'each row is under one seal').toBe(row?.['rows']);
    expect(row?.['gapless']).toBe(true);
  },
};

interface Watching extends Running {
  told: Json[];
}

const watched: Scenario<Watching> = {
  name: 'a run is watched',
  points: ['platform.feed.before_read', 'platform.feed.after_read'],
  set: async (stage) => ({ ...(await ready(stage, '/async?progress=2&parts=2&delay_ms=400')), told: [] }),
  play: async (cell, state) => {
    await startIt(cell, state);
    await watch(cell, state);
    await ends(cell, state, 'succeeded');
  },
  lend: ageRuns,
  check: async ({ sql }, { told }) => {
    const ids = told.map(({ id }) => id);
    expect(new Set(ids).size, 'each event once').toBe(ids.length);
    const [first] = told;
    const rows = await sql`
      select 'e' || seq as id from platform.events
      where subject_id = (select subject_id from platform.events where 'e' || seq = ${first.id}) order by seq`;
    expect(ids, 'all events, in order').toEqual(rows.map(({ id }) => id));
  },
};

/** Reads the run's events to the end as a browser does: it comes back with what it saw last. */
async function watch(cell: Cell, { customer, run, told }: Watching): Promise<void> {
  await cell.until('everything was told', async () => {
    const stream = await listen(customer, cell.stage.farebox.url, `/v1/runs/${run.id}/events`, told.at(-1)?.id);
    await Promise.race([stream.over, eventually(async () => isWhole(stream), Boolean, 700)]).catch(() => {});
    stream.leave();
    told.push(...stream.events);
    return stream.status === 204 || isWhole(stream);
  });
}

const isWhole = ({ events }: EventStream) =>
  events.some(({ type }) => ['succeeded', 'failed', 'cancelled'].includes(type));

export const platformScenarios = [sealed, watched];
