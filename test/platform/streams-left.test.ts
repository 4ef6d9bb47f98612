import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../harness/client.ts';
import { listen } from '../workflows/event-stream.ts';
import { accepted, openStage, type Stage, workflowOf } from '../workflows/stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage.close());

const openStreams = async () => {
  const metrics = await (await fetch(`${stage.farebox.internalUrl}/metrics`)).text();
  return Number(/^farebox_event_streams (\d+)/m.exec(metrics)?.[1]);
};

// They used to stay open for an hour, and twenty of them took all places of the account.
test('readers that leave before their stream begins leave nothing open, and give their places back', async () => {
  const customer = await stage.customer(100);
  const service = await stage.offer('/async-silent', { executor: { report_interval_s: 1000 } });
  const run = await accepted(customer, await workflowOf(customer, service));
  const { port, hostname } = new URL(stage.farebox.url);
  for (let i = 0; i < 60; i += 1) {
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    socket.write(
      `GET /v1/runs/${run.id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${customer.token}\r\n\r\n`,
    );
    await sleep(i % 6);
    socket.destroy();
  }
  await eventually(openStreams, (n) => n === 0, 5_000);
  const streams = await Promise.all(
    Array.from({ length: 20 }, () => listen(customer, stage.farebox.url, `/v1/runs/${run.id}/events`)),
  );
  expect(streams.map(({ status }) => status)).toEqual(streams.map(() => 200));
  for (const stream of streams) stream.leave();
  await eventually(openStreams, (n) => n === 0, 5_000);
});
