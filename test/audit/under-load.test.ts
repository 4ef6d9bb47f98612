import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Walk } from '../../src/platform/audit/check.ts';
import { fromWire } from '../../src/platform/ids.ts';
import type { Client } from '../harness/client.ts';
import { type Shop, shopOf } from '../payments/shop.ts';
import { openStage, type Stage, startRun, workflowOf } from '../workflows/stage.ts';
import { auditOf, brokenIn, checks, tellOfOperator } from './lived-in.ts';

let stage: Stage;
let shop: Shop;
let app: postgres.Sql;
beforeAll(async () => {
  stage = await openStage();
  shop = await shopOf(stage.farebox);
  app = postgres(stage.farebox.database.appUrl, { max: 2 });
  for (const operator of [stage.operator, shop.operator]) await tellOfOperator(stage.root, operator);
});
afterAll(async () => {
  await Promise.all([app.end(), shop.stop()]);
  await stage.close();
});

const AUDITS = 2;

/** Does it over and over until the work of the day is over; resolves to how often. */
async function untilOver(day: { isOver: boolean }, work: () => Promise<unknown>): Promise<number> {
  let times = 0;
  for (; !day.isOver; times += 1) await work();
  return times;
}

/** In windows of a few rows at first, so that much happens in between. */
const walks = new Map([...new Set(checks.map(({ over }) => over))].map((over) => [over, smaller(over)]));
const inSmallPieces = checks.map((check) => ({ ...check, over: walks.get(check.over) ?? check.over }));
function smaller(over: Walk | string): Walk | string {
  return typeof over === 'string' ? over : { ...over, firstWindow: 10 };
}

// REQ E8.4
test('audits of a database at work find nothing, however much happens between and during their windows', async () => {
  const [good, bad] = [await stage.offer('/echo'), await stage.offer('/refuse')];
  const customers = await Promise.all(Array.from({ length: 3 }, () => stage.customer(100_000)));
  const workflows = await Promise.all(
    customers.flatMap((one) =>
      [workflowOf(one, good), workflowOf(one, bad)].map(async (made) => ({ one, made: await made })),
    ),
  );
  const account = ({ accountId }: Client) => fromWire('account', accountId);
  const day = { isOver: false };
  const work = [
    ...workflows.flatMap(({ one, made }) => [1, 2].map(() => untilOver(day, () => startRun(one, made)))),
    ...customers.map((one) =>
      untilOver(day, async () => {
        const purchase = await shop.buy(one);
        if (Math.random() < 0.3) await one.post(`/v1/purchases/${purchase.id}/cancel`);
        else shop.omise.pay(shop.chargeOf(purchase));
      }),
    ),
    untilOver(day, async () => {
      const [one] = await Promise.all([stage.customer(50)]);
      await app`select credits.post(${account(one)}::uuid, 'clawback', 70, 'test', ${randomUUID()}::uuid, null, null)`;
      const hold = randomUUID();
      const [first] = customers.map(account);
      await app`select credits.hold(${first ?? ''}::uuid, ${hold}::uuid, 9, 'ask', ${hold}::uuid, null, 'test', ${hold}::uuid)`;
      await app`select credits.capture(${first ?? ''}::uuid, ${hold}::uuid, 4, 'test', ${randomUUID()}::uuid)`;
      await app`select credits.release(${first ?? ''}::uuid, ${hold}::uuid, 5, 'test', ${randomUUID()}::uuid)`;
    }),
  ];
  const found: unknown[] = [];
  for (let n = 0; n < AUDITS; n += 1) {
    const { checks: done } = await auditOf(stage.farebox.database.auditorUrl, 'live', inSmallPieces);
    found.push(...done.filter(({ offending }) => offending > 0));
  }
  day.isOver = true;
  const times = await Promise.all(work);
  expect(found).toEqual([]);
  expect(Math.min(...times), 'everybody got to work').toBeGreaterThan(0);
  expect(brokenIn(await auditOf(stage.farebox.database.auditorUrl))).toEqual([]);
}, 60_000);
