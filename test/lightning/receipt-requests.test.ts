import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientOf, type Json } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { expectProblem } from '../harness/problems.ts';
import { ASK, at, provider, stranger, us, type ZapChange, zap } from './zaps.ts';

let farebox: TestFarebox;
beforeAll(async () => {
  const env = { NOSTR_SECRET_KEY: us.secret.toHex(), ZAP_PROVIDERS: provider.public };
  farebox = await fareboxForFile({ env });
});
afterAll(() => farebox.stop());

const verify = (body: Json) => clientOf(farebox.url).call('POST', '/v1/receipts/verify', { body });
const ask = (more: Json = {}) => ({ event_id: ASK, amount_msat: '21000', issued_at: new Date(at(-5) * 1000), ...more });
const judged = async (change: ZapChange, asked: Json = ask()) =>
  (await verify({ receipt: zap(change), ask: asked })).body;

// REQ V5
describe('what a zap receipt is worth can be asked by anybody', () => {
  test('it is told with the payment, and against what was asked', async () => {
    expect(await judged({})).toMatchObject({
      ...{ verdict: 'paid', code: null, rule: null, pointer: null },
      payment: {
        amount_msat: '21000',
        event_id: ASK,
        preimage: 'hashes',
        paid_at: new Date(at(-1) * 1000).toISOString(),
      },
    });
    expect(await judged({}, ask({ amount_msat: '21001' }))).toMatchObject({ verdict: 'underpaid' });
    expect(await judged({}, ask({ amount_msat: '20999' }))).toMatchObject({ verdict: 'overpaid' });
    expect(await judged({}, null)).toMatchObject({ verdict: 'sound', payment: { amount_msat: '21000' } });
  });

  test('what is wrong with it is an answer with code, rule and place', async () => {
    expect(await judged({}, ask({ event_id: 'b6'.repeat(32) }))).toMatchObject({
      ...{ verdict: 'refused', code: 'request_for_other_event', rule: 7, pointer: '/receipt/tags', payment: null },
    });
    expect(await judged({ receiptKey: stranger })).toMatchObject({
      verdict: 'quarantined',
      code: 'signer_not_provider',
    });
    const malformed = await verify({ receipt: { ...zap(), tags: [['p', us.public], []] } });
    expect(malformed.body).toMatchObject({ code: 'malformed', rule: 1, pointer: '/receipt/tags/1' });
  });

  test.each<[body: Json, pointer: string]>([
    [{}, '/receipt'],
    [{ receipt: 'a text' }, '/receipt'],
    [{ receipt: {}, ask: ask({ amount_msat: '1.5' }) }, '/ask/amount_msat'],
    [{ receipt: {}, ask: ask({ amount_msat: 21000 }) }, '/ask/amount_msat'],
    [{ receipt: {}, ask: ask({ event_id: 'note1…' }) }, '/ask/event_id'],
    [{ receipt: {}, ask: ask({ issued_at: 'now' }) }, '/ask/issued_at'],
  ])('a question that is none is refused at its place: %j', async (body, pointer) => {
    const reply = await verify(body);
    expectProblem(reply, 'validation_failed');
    expect(reply.body.errors[0].pointer).toBe(pointer);
  });

  test('nobody asks without end, and nothing without end is read', async () => {
    const strict = await fareboxForFile({ env: { RATE_READ_PER_MIN: '100' } });
    const one = () => clientOf(strict.url).call('POST', '/v1/receipts/verify', { body: { receipt: {} } });
    expect((await one()).body, 'without any provider it answers, too').toMatchObject({ code: 'malformed' });
    await one();
    expectProblem(await one(), 'rate_limited');
    await strict.stop();
    expectProblem(await verify({ receipt: { content: 'x'.repeat(70_000) } }), 'body_too_large');
  });
});
