import { expect, test } from 'vitest';
import { subscribe, subscriptionWorker } from '../../src/platform/delivery/subscriptions.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { createLog } from '../../src/platform/log.ts';
import { askOf, openAskStage, pay } from './stage.ts';

test('other parts of the house hear of asks and their runs, each event once, in the order in which it happened', async () => {
  const stage = await openAskStage({ env: { WORKERS: 'off' } });
  const heard: string[] = [];
  const types = ['ask_opened', 'run_awaiting_payment', 'ask_paid', 'run_queued', 'ask_part_paid'].map(
    (what) => `workflows.${what}`,
  );
  const table = Object.fromEntries(
    types.map((type) => [
      type,
      {
        'a listener': async (_: unknown, { subjectId }: { subjectId: string }) =>
          void heard.push(`${type} ${subjectId}`),
      },
    ]),
  );
  await subscribe(stage.db, table);
  const worker = subscriptionWorker({ db: stage.db, alarm: () => {}, log: createLog('silent') }, table);
  const { who, start } = await stage.party({});
  const ask = askOf(await start({ payment: 'upfront' }));
  await stage.operator.ok('POST', `/v1/admin/accounts/${who.accountId}/grants`, {
    body: { credits: 30, reason: 'to pay' },
  });
  await pay(who, ask);
  const plain = await stage.party({}, { credits: 30 });
  await plain.start(); // nobody but its owner is told of a plain run
  for (const _ of [1, 2]) await worker.runOnce(new AbortController().signal);
  const [asked, run] = [fromWire('ask', ask.id), fromWire('run', ask.run_id)];
  expect(heard).toEqual([
    `workflows.ask_opened ${asked}`,
    `workflows.run_awaiting_payment ${run}`,
    `workflows.ask_paid ${asked}`,
    `workflows.run_queued ${run}`,
  ]);
  await stage.close();
});
