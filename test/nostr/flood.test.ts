import { monitorEventLoopDelay } from 'node:perf_hooks';
import { expect, test } from 'vitest';
import { eventually } from '../harness/client.ts';
import { hostileRelay } from './hostile-relay.ts';
import { listen, note, relaysFor } from './stage.ts';

test('ten thousand events of junk at once: nobody else waits long, and what is good among them is heard', async () => {
  const good = note();
  const forged = Array.from({ length: 300 }, () => ({ ...note(), sig: 'f'.repeat(128) }));
  const relay = await hostileRelay(([type, id], say) => {
    if (type !== 'REQ') return;
    const cheap = { ...note(), id: 'a'.repeat(64) };
    for (let n = 0; n < 9_700; n += 1) say(JSON.stringify(['EVENT', id, { ...cheap, content: `junk ${n}` }]));
    for (const event of [...forged, good]) say(JSON.stringify(['EVENT', id, event]));
  });
  const heap = () => process.memoryUsage().heapUsed / 2 ** 20;
  const [before, delay] = [heap(), monitorEventLoopDelay({ resolution: 5 })];
  const { heard } = listen(relaysFor([relay.url], { catchUpEveryMs: 60_000 }));
  await eventually(
    async () => relay.connections(),
    (count) => count === 1,
  );
  await new Promise((resolve) => setTimeout(resolve, 50)); // the other side is in this process, and has said it all by then
  delay.enable();
  await eventually(
    async () => heard,
    (all) => all.length > 0,
  );
  delay.disable();
  expect(heard).toEqual([good.content]);
  expect(delay.percentile(99) / 1e6, 'milliseconds that others wait').toBeLessThan(100);
  expect(heap() - before, 'MiB').toBeLessThan(200);
});
