import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { callOf, describeOnChain, newWallet, otherToken, payDollars, send, type Wallet } from '../harness/chain.ts';
import { eventually, type Json } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { operatorAt } from '../ops/visitor.ts';
import {
  agree,
  askFor,
  newPayer,
  openRequestStage,
  type Payer,
  type RequestStage,
  requestOf,
  standing,
  submit,
  TEN,
} from '../payments/request-stage.ts';
import { askBack, balanceOf } from './stage.ts';

describeOnChain('refunds of payment requests', () => {
  let stage: RequestStage;
  /** The operator's wallet, of which the server knows nothing. */
  let cold: Wallet;
  beforeAll(async () => {
    stage = await openRequestStage({ usual: 2 });
    cold = await newWallet(stage.chain);
  });
  afterEach(async () => {
    expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  });
  afterAll(() => stage.close());

  const requestIt = ({ id }: Json, part?: string): Json => ({ type: 'payment_request', id, ...(part ? { part } : {}) });

  /** A request of ten dollars for a thousand credits (or an invoice) that was paid with so much. */
  async function paid(amount = TEN, more: Json = {}): Promise<{ payer: Payer; request: Json }> {
    const payer = await newPayer(stage);
    const request = await askFor(stage, payer, more);
    await agree(stage, payer, request);
    await submit(payer, request, await payDollars(payer.wallet, stage.chain, amount));
    await stage.chain.control.mine(2);
    await standing(stage, payer.client, request, 'completed');
    return { payer, request };
  }

  async function prove(payer: Payer, request: Json, by = payer): Promise<Json> {
    const asked = await payer.client.ok('POST', '/v1/refunds/challenges', { body: { payment_request_id: request.id } });
    return { challenge_id: asked.challenge_id, answer: await by.prove(asked) };
  }

  const ask = async (payer: Payer, request: Json, part: string, more: Json = {}) =>
    askBack(payer.client, requestIt(request, part), { proof: await prove(payer, request), ...more });

  const decide = (refund: Json, what: string, body: Json = { reason: 'fair' }) =>
    stage.operator.call('POST', `/v1/admin/refunds/${refund.id}/${what}`, { key: randomUUID(), body });
  const payOut = (refund: Json, hash: string) => decide(refund, 'payouts', { type: 'transaction', tx_hash: hash });
  const over = (payer: Payer, refund: Json, status: string) =>
    eventually(
      async () => {
        await stage.root`update refunds.refunds set next_step_at = least(next_step_at, now()) where next_step_at is not null`;
        return payer.client.ok('GET', `/v1/refunds/${refund.id}`);
      },
      (now: Json) => now.status === status,
    );
  const refusalsOf = async (refund: Json): Promise<string[]> => {
    const { history } = await stage.operator.ok('GET', `/v1/admin/refunds/${refund.id}`);
    return history.filter(({ what }: Json) => what === 'payout_refused').map(({ detail }: Json) => detail.reason);
  };

  // REQ P10 P2
  test('what arrived in excess becomes credits at once, at the rate of the request; it takes a fresh proof of the DID', async () => {
    const { payer, request } = await paid(TEN + 2_500_000n);
    expect((await requestOf(payer.client, request)).excess).toBe('2500000');
    const unproven = await askBack(payer.client, requestIt(request));
    expect([unproven.status, unproven.body.errors?.[0].pointer]).toEqual([422, '/proof']);
    const proof = await prove(payer, request);
    const reply = await askBack(payer.client, requestIt(request), { proof });
    expect(reply.body).toMatchObject({
      ...{ status: 'completed', rail: 'credits', credits: 250, amount: '2500000' },
      subject: { part: 'excess' },
    });
    expect(await balanceOf(payer.client)).toMatchObject({ available: 1250 });
    expect((await requestOf(payer.client, request)).excess).toBe('0');
    const used = await askBack(payer.client, requestIt(request), { proof });
    expect([used.status, used.body.code], 'the proof is used up').toEqual([401, 'did_auth_failed']);
    const more = await ask(payer, request, 'excess');
    expect([more.status, more.body.code]).toEqual([409, 'not_refundable']);
  });

  test('a proof of somebody else, of another purpose or for another request is none', async () => {
    const { payer, request } = await paid(TEN + 1_000_000n);
    const { payer: other, request: others } = await paid();
    const forged = await askBack(payer.client, requestIt(request), { proof: await prove(payer, request, other) });
    expect([forged.status, forged.body.code]).toEqual([401, 'did_auth_failed']);
    const elsewhere = await askBack(payer.client, requestIt(request), { proof: await prove(other, others) });
    expect(elsewhere.status).toBe(401);
    const login = await payer.client.ok('POST', '/v1/auth/did/challenges', {
      body: { did: payer.did, purpose: 'login' },
    });
    const proof = { challenge_id: login.challenge_id, answer: await payer.prove(login) };
    expect((await askBack(payer.client, requestIt(request), { proof })).status).toBe(401);
    const foreign = await askBack(other.client, requestIt(request), { proof: await prove(payer, request) });
    expect(foreign.status, "another's request").toBe(404);
    const asked = await other.client.call('POST', '/v1/refunds/challenges', {
      body: { payment_request_id: request.id },
    });
    expect(asked.status).toBe(404);
    expect(await balanceOf(payer.client)).toMatchObject({ available: 1000 });
  });

  test('the same key again, with the proof that is used up: the same refund', async () => {
    const { payer, request } = await paid(TEN + 1_000_000n);
    const [key, proof] = [randomUUID(), await prove(payer, request)];
    const first = await askBack(payer.client, requestIt(request), { proof }, { key });
    const again = await askBack(payer.client, requestIt(request), { proof }, { key });
    expect([first.status, again.status, again.body.id]).toEqual([201, 201, first.body.id]);
    expect(await balanceOf(payer.client)).toMatchObject({ available: 1100 });
  });

  test('to the wallet that paid: an operator pays from a wallet of their own, and only the very transfer counts', async () => {
    const { payer, request } = await paid(TEN + 3_000_000n);
    const { body: refund } = await ask(payer, request, 'excess', { target: 'original' });
    const wallet = payer.wallet.account.address;
    expect(refund).toMatchObject({
      ...{ status: 'awaiting_approval', rail: 'evm', credits: 0, amount: '3000000' },
      destination: `eip155:31337:${wallet.toLowerCase()}`,
    });
    expect((await payOut(refund, `0x${'1'.repeat(64)}`)).status, 'not approved').toBe(409);
    expect((await decide(refund, 'approve')).body).toMatchObject({ status: 'reserved' });

    const wrong: [string, () => Promise<string>][] = [
      ['wrong_amount', () => payDollars(cold, stage.chain, 2_999_999n, wallet)],
      ['wrong_amount', () => payDollars(cold, stage.chain, 3_000_001n, wallet)],
      ['no_matching_transfer', () => payDollars(cold, stage.chain, 3_000_000n, cold.account.address)],
      ['no_matching_transfer', () => payDollars(cold, stage.chain, 3_000_000n)],
      ['no_matching_transfer', () => send(cold, { to: wallet, value: 3_000_000n })],
      ['no_matching_transfer', () => ofAnotherToken(wallet)],
    ];
    for (const [reason, pay] of wrong) {
      const before = (await refusalsOf(refund)).length;
      expect((await payOut(refund, await pay())).status).toBe(202);
      await eventually(
        () => refusalsOf(refund),
        (now) => now.length > before,
      );
      expect((await refusalsOf(refund)).at(-1)).toBe(reason);
      await over(payer, refund, 'reserved');
    }

    const hash = await payDollars(cold, stage.chain, 3_000_000n, wallet);
    expect((await payOut(refund, hash)).body).toMatchObject({ status: 'sending' });
    expect(await payer.client.ok('GET', `/v1/refunds/${refund.id}`), 'not final').toMatchObject({ status: 'sending' });
    await stage.chain.control.mine(2);
    expect(await over(payer, refund, 'completed')).toMatchObject({
      reference: expect.stringContaining(`eip155:31337:${hash}:`),
    });
    expect((await payOut(refund, hash)).status, 'it is over').toBe(409);
    expect(await balanceOf(payer.client), 'no credits are touched').toMatchObject({ available: 1000, held: 0 });
  });

  test('an operator records the payout on the work list: what is no hash is refused there, what is a wrong one by the chain', async () => {
    const { payer, request } = await paid(TEN + 3_000_000n);
    const { body: refund } = await ask(payer, request, 'excess', { target: 'original' });
    await decide(refund, 'approve');
    const { visitor } = await operatorAt(stage.farebox);
    const list = await visitor.get('/ops');
    expect(list.text).toContain(`/ops/payouts/${refund.id}`);
    const form = `/ops/payouts/${refund.id}/paid`;
    const page = await visitor.get(form);
    expect(page.text).toMatch(/exactly 3 \w+ went to eip155:31337:0x/);
    for (const value of ['', '0x1', `0x${'g'.repeat(64)}`])
      expect((await visitor.submit(form, { reason: 'sent', value })).status, value).toBe(422);
    const wallet = payer.wallet.account.address;
    const short = await payDollars(cold, stage.chain, 2_000_000n, wallet);
    expect((await visitor.submit(form, { reason: 'sent', value: short })).status).toBe(303);
    await over(payer, refund, 'reserved');
    expect(await refusalsOf(refund)).toEqual(['wrong_amount']);
    await visitor.get(form);
    const right = (await payDollars(cold, stage.chain, 3_000_000n, wallet)).toUpperCase().replace('0X', '0x');
    expect((await visitor.submit(form, { reason: 'sent', value: right })).status).toBe(303);
    await stage.chain.control.mine(2);
    await over(payer, refund, 'completed');
    expect((await visitor.get(`/ops/payouts/${refund.id}`)).text).toContain('Nothing to decide');
  });

  async function ofAnotherToken(to: `0x${string}`): Promise<string> {
    const token = await otherToken(cold);
    await send(cold, { to: token, data: callOf('TestToken', 'mint', cold.account.address, 10_000_000n) });
    return send(cold, { to: token, data: callOf('TestToken', 'transfer', to, 3_000_000n) });
  }

  test('one transfer pays one refund; an older one pays none', async () => {
    const { payer, request } = await paid(TEN + 2_000_000n);
    const wallet = payer.wallet.account.address;
    const half = { target: 'original', amount: '1000000' };
    const { body: first } = await ask(payer, request, 'excess', half);
    const { body: second } = await ask(payer, request, 'excess', half);
    for (const refund of [first, second]) await decide(refund, 'approve');
    const hash = await payDollars(cold, stage.chain, 1_000_000n, wallet);
    await stage.chain.control.mine(2);
    await payOut(first, hash);
    await over(payer, first, 'completed');
    await payOut(second, hash);
    await eventually(
      () => refusalsOf(second),
      (now) => now.includes('already_used'),
    );
    const old = await payDollars(cold, stage.chain, 1_000_000n, wallet);
    await stage.root`update refunds.refunds set created_at = now() + interval '5 minutes' where state = 'reserved'`;
    await payOut(second, old);
    await eventually(
      () => refusalsOf(second),
      (now) => now.includes('older_than_refund'),
    );
    expect((await decide(second, 'reject')).body).toMatchObject({ status: 'failed' });
    expect((await requestOf(payer.client, request)).excess, 'free again').toBe('1000000');
  });

  // REQ P10
  test('credits that were not used go back for what they cost, and are set aside meanwhile', async () => {
    const { payer, request } = await paid();
    const { body: refund } = await ask(payer, request, 'whole', { amount: 300 });
    expect(refund).toMatchObject({ rail: 'evm', credits: 300, amount: '3000000', status: 'awaiting_approval' });
    const toCredits = await ask(payer, request, 'whole', { target: 'credits' });
    expect(toCredits.body.code).toBe('refund_target_unavailable');
    await decide(refund, 'approve');
    expect(await balanceOf(payer.client)).toMatchObject({ available: 700, held: 300 });
    const hash = await payDollars(cold, stage.chain, 3_000_000n, payer.wallet.account.address);
    await stage.chain.control.mine(2);
    await payOut(refund, hash);
    await over(payer, refund, 'completed');
    expect(await balanceOf(payer.client)).toMatchObject({ available: 700, held: 0, debt: 0 });
    const rest = await ask(payer, request, 'whole', { amount: 701 });
    expect([rest.body.code, rest.body.refundable]).toEqual(['refund_too_large', 700]);
    expect((await requestOf(payer.client, request)).status, 'it stays paid').toBe('completed');
  });

  test('what came too late is refundable whole; of an invoice only to the wallet', async () => {
    const payer = await newPayer(stage);
    const purpose = { type: 'invoice', reference: 'INV-7' };
    const request = await askFor(stage, payer, { purpose, expires_in_s: 60 });
    await agree(stage, payer, request);
    await stage.root`set session_replication_role = replica`;
    await stage.root`update payments.payment_requests set expires_at = now() - interval '1 minute' where state = 'authenticated'`;
    await stage.root`set session_replication_role = default`;
    await submit(payer, request, await payDollars(payer.wallet, stage.chain, TEN));
    await stage.chain.control.mine(2);
    await standing(stage, payer.client, request, 'late');
    const toCredits = await ask(payer, request, 'excess', { target: 'credits' });
    expect(toCredits.body.code).toBe('refund_target_unavailable');
    const { body: refund } = await ask(payer, request, 'excess');
    expect(refund).toMatchObject({ rail: 'evm', amount: TEN.toString(), status: 'awaiting_approval' });
    const more = await ask(payer, request, 'excess');
    expect(more.body.code).toBe('not_refundable');
  });

  test('many at once: never more than there is in excess', async () => {
    const { payer, request } = await paid(TEN + 1_000_000n);
    const proofs = [];
    for (let n = 0; n < 10; n += 1) proofs.push(await prove(payer, request));
    const replies = await Promise.all(
      proofs.map((proof) => askBack(payer.client, requestIt(request, 'excess'), { proof, amount: '300000' })),
    );
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(3);
    expect(await balanceOf(payer.client)).toMatchObject({ available: 1090 });
  });
});
