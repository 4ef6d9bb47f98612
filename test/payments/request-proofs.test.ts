import { verifyJWT } from 'did-jwt';
import { Resolver } from 'did-resolver';
import { getResolver } from 'key-did-resolver';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { describeOnChain, payDollars } from '../harness/chain.ts';
import { clientOf, eventually, type Json, newCustomer } from '../harness/client.ts';
import { keyHolder, signIn } from '../harness/dids.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import {
  agree,
  askFor,
  newPayer,
  openRequestStage,
  type RequestStage,
  standing,
  submit,
  TEN,
} from './request-stage.ts';

/** What is proved of a payment request: who pays and who asks, by the payer; that it was paid, by us. */

describeOnChain('proofs about payment requests', () => {
  let stage: RequestStage;
  beforeAll(async () => {
    stage = await openRequestStage();
  });
  afterAll(() => stage.close());

  const typesTold = async (to: Json, request: Json): Promise<string[]> => {
    const { data } = await to.ok('GET', '/v1/events?limit=100');
    return data
      .filter((event: Json) => event.data.object_id === request.id || JSON.stringify(event).includes(request.id))
      .map(({ type }: Json) => type.replace('payments.payment_request_', ''))
      .toReversed();
  };
  const told = (to: Json, request: Json, what: string) =>
    eventually(
      () => typesTold(to, request),
      (types) => types.includes(what),
    );
  const challenge = (request: Json, purpose?: string): Promise<Json> =>
    clientOf(stage.farebox.url).ok('POST', `/v1/payment-requests/${request.id}/challenges`, {
      ...(purpose === undefined ? {} : { body: { purpose } }),
    });
  const answer = (path: string, request: Json, asked: Json, proof: Json) =>
    clientOf(stage.farebox.url).post(`/v1/payment-requests/${request.id}/${path}`, {
      challenge_id: asked.challenge_id,
      proof,
    });

  // REQ P1
  test('a payer who has an account is told of a new request, and sees it', async () => {
    const payer = await newPayer(stage);
    const request = await askFor(stage, payer);
    await told(payer.client, request, 'created');
    await told(stage.merchant, request, 'created');
    const { data } = await payer.client.ok('GET', '/v1/payment-requests?as=payer');
    expect(data.map(({ id }: Json) => id)).toEqual([request.id]);
    const stranger = await newPayer(stage);
    expect((await stranger.client.get(`/v1/payment-requests/${request.id}`)).status).toBe(404);
    expect(await typesTold(stranger.client, request)).toEqual([]);
  });

  // REQ P2 P6
  test('the holder of the DID is shown how it stands, without an account and without a session', async () => {
    const holder = keyHolder('P-256');
    const request = await askFor(stage, holder);
    const asked = await challenge(request, 'status');
    expect(asked.jwt_claims).toMatchObject({ purpose: 'status', subject: request.id });
    expect(asked.jwt_claims).not.toHaveProperty('terms_hash');
    const shown = await answer('status', request, asked, await holder.prove(asked));
    expect([shown.status, shown.body.id, shown.body.status]).toEqual([200, request.id, 'pending']);
    const again = await answer('status', request, asked, await holder.prove(asked));
    expect([again.status, again.body.code], 'once').toEqual([401, 'did_auth_failed']);
  });

  // REQ P7
  test('whoever agrees without ever having signed in has an account from then on, and the books say how', async () => {
    const holder = keyHolder();
    const request = await askFor(stage, holder);
    expect(await agree(stage, holder, request)).toMatchObject({ status: 'authenticated' });
    const client = await signIn(stage.farebox, holder);
    expect(await client.ok('GET', `/v1/payment-requests/${request.id}`)).toMatchObject({ id: request.id });
    expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  });

  test('a proof is for one purpose and one request; who fails is told so, and the request survives', async () => {
    const [payer, other] = [await newPayer(stage), keyHolder()];
    const [request, second] = [await askFor(stage, payer), await askFor(stage, payer)];
    const toPay = await challenge(request);
    const toSee = await challenge(request, 'status');
    const refusals = [
      await answer('status', request, toPay, await payer.prove(toPay)),
      await answer('authorizations', request, toSee, await payer.prove(toSee)),
      await answer('status', second, toSee, await payer.prove(toSee)),
      await answer('authorizations', request, toPay, await other.prove({ ...toPay, jwt_claims: {}, jwt_header: {} })),
    ];
    for (const { status, body } of refusals) expect([status, body.code]).toEqual([401, 'did_auth_failed']);
    await told(stage.merchant, request, 'authentication_failed');
    await told(payer.client, request, 'authentication_failed');
    expect(await typesTold(stage.merchant, second)).toContain('authentication_failed');
    expect((await agree(stage, payer, request)).status).toBe('authenticated');
  });

  test('somebody who fails again and again is told of twenty times, and no more', async () => {
    const [payer, other] = [await newPayer(stage), keyHolder()];
    const request = await askFor(stage, payer);
    const asked = await challenge(request);
    const proof = await other.prove({ ...asked, jwt_claims: {}, jwt_header: {} });
    await Promise.all(Array.from({ length: 30 }, () => answer('authorizations', request, asked, proof)));
    const [row] = await stage.root`select count(*)::int as n from payments.request_history
      where request_id = ${fromWire('paymentRequest', request.id)} and what = 'authentication_failed'`;
    expect(row).toEqual({ n: 20 });
  });

  // REQ P5
  test('the receipt of a paid request verifies with stock libraries, by a key that we publish; the same for both', async () => {
    const payer = await newPayer(stage, 'Ed25519');
    const request = await askFor(stage, payer);
    await agree(stage, payer, request);
    const early = await payer.client.get(`/v1/payment-requests/${request.id}/receipt`);
    expect([early.status, early.body.code]).toEqual([409, 'conflict']);
    const hash = await payDollars(payer.wallet, stage.chain, TEN);
    await submit(payer, request, hash);
    await standing(stage, payer.client, request, 'completed');
    const receipt = await payer.client.ok('GET', `/v1/payment-requests/${request.id}/receipt`);
    expect(await stage.merchant.ok('GET', `/v1/payment-requests/${request.id}/receipt`)).toEqual(receipt);

    const verified = await verifyJWT(receipt.jws, {
      resolver: new Resolver(getResolver()),
      proofPurpose: 'assertionMethod',
    });
    expect(verified.issuer).toBe(receipt.issuer);
    expect(verified.payload).toMatchObject({
      ...{ jti: receipt.id, sub: payer.did, terms: request.terms, terms_hash: request.terms_hash, credits: 1000 },
      transfers: [{ tx_hash: hash, payer: payer.wallet.account.address.toLowerCase(), amount: TEN.toString() }],
    });
    const document = (await clientOf(stage.farebox.url).get('/.well-known/did.json')).body;
    expect(document.id).toBe(`did:web:${encodeURIComponent(new URL(stage.farebox.url).host)}`);
    expect(document.alsoKnownAs).toContain(receipt.issuer);
    const cut = `${receipt.jws.slice(0, -6)}AAAAAA`;
    await expect(verifyJWT(cut, { resolver: new Resolver(getResolver()) })).rejects.toThrow('invalid_signature');
    const stranger = await newCustomer(stage.farebox);
    expect((await stranger.get(`/v1/payment-requests/${request.id}/receipt`)).status).toBe(404);
  });
});
