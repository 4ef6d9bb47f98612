import { expect, test } from 'vitest';
import { childForTest } from '../harness/child.ts';
import { newCustomer } from '../harness/client.ts';
test('child', async () => {
  const t = Date.now();
  const a = await childForTest();
  console.log(Date.now() - t);
  const c = await newCustomer(a);
  await a.kill();
  await expect(c.get('/v1/me')).rejects.toThrow();
  await a.start();
  expect((await c.get('/v1/me')).status).toBe(200);
  expect(await a.stop()).toBe(0);
  console.log(a.logged.map((l) => l.msg));
});
