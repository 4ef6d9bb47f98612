import type NDK from '@nostr-dev-kit/ndk';
import {
  NDKAppHandlerEvent,
  NDKDVMJobResult,
  type NDKDVMRequest,
  NDKKind,
  NDKPrivateKeySigner,
  type NDKUser,
  zapInvoiceFromEvent,
} from '@nostr-dev-kit/ndk';
import { afterAll, test as baseTest, beforeAll, describe, expect, onTestFinished } from 'vitest';
import { type LightningServer, startLightning } from '../../sandbox/lightning/server.ts';
import { startWallet } from '../../sandbox/lightning/wallet.ts';
import { startRelay } from '../../sandbox/nostr/relay.ts';
import { eventually } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { makers } from '../nostr/stage.ts';
import { connect, leave, requestOf, send, zap } from './ndk.ts';
import { type DvmStage, openDvmStage, worksOf } from './stage.ts';

/**
 * NDK finds, asks, zaps and reads by its own means, over relays of two makers. The zap goes the whole way: from the profile of our
 * key over the LNURL, its invoice and its receipt.
 */

let stage: DvmStage;
let lightning: LightningServer;
const urls = () => stage.relays.map(({ url }) => url);
/** Work at these paths goes on until it is let go. */
const held = new Map<string, PromiseWithResolvers<void>>();
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  // The provider has a relay of its own: on ours there is only what the zap request has led there.
  const relay = await startRelay();
  const wallet = await startWallet({ relayUrl: relay.url });
  lightning = await startLightning({ wallet, relayUrl: relay.url });
  stage = await openDvmStage({ env: { ZAP_PROVIDERS: lightning.provider.publicKey, ZAP_LNURL: lightning.lnurl } });
  closers.push(stage.close, lightning.close, wallet.close, relay.close);
  stage.executor.behave(async ({ path }) => {
    await held.get(path)?.promise;
    return held.has(path) ? { json: 'done' } : undefined;
  });
  await publishProfile(stage.farebox.environment['NOSTR_SECRET_KEY'] ?? '');
});
afterAll(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  for (const close of closers) await close();
});

/** As the operator does, with any client. */
async function publishProfile(secret: string): Promise<void> {
  const signer = new NDKPrivateKeySigner(secret);
  const operator = await connect(urls(), signer);
  const us = operator.getUser({ pubkey: signer.pubkey });
  us.profile = { name: 'Jobs', lud06: lightning.lnurl };
  await us.publish();
  leave(operator);
}

/** Each test has a client with a key of its own. */
const test = baseTest.extend<{ ndk: NDK }>({
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads what a fixture needs from its first parameter
  ndk: async ({}, use) => {
    const ndk = await connect(urls());
    await use(ndk);
    leave(ndk);
  },
});

const ciphers = {
  nip44: (request: NDKDVMRequest, us: NDKUser) => request.encryption(us),
  // As its older versions do, which many clients are built on.
  nip04: async (request: NDKDVMRequest, us: NDKUser) => {
    request.content = JSON.stringify(request.getMatchingTags('param'));
    request.removeTag('param');
    request.tags.push(['encrypted']);
    await request.encrypt(us, undefined, 'nip04');
  },
};
const [ASKED, BEGUN, PART, ERROR] = ['7000 payment-required', '7000 processing', '7000 partial', '7000 error'];
const ONCE = { dispatched: 1, credited: 1, taken: 1, ended: 1 };

describe.concurrent('NDK', () => {
  // REQ V2 V3 V6
  test('finds the service, asks, is asked, zaps, and has the result from each of two relays', async ({ ndk }) => {
    const { service, kind } = await stage.sell({}, { path: '/summarize' });
    const offers = () => ndk.fetchEvent({ kinds: [NDKKind.AppHandler], '#k': [String(kind)] });
    const offer = await eventually(offers, (event) => event !== null, 60_000);
    const profile = await (offer && NDKAppHandlerEvent.from(offer))?.fetchProfile();
    expect(profile).toMatchObject({ name: service.name, lud06: lightning.lnurl, payment: { amount_msat: '30000' } });

    const request = requestOf(ndk, offer?.pubkey ?? '', kind, { text: 'Paid before it runs. Never twice.' });
    const job = await send(ndk, request);
    const asked = await job.word(ASKED);
    expect(asked.tagValue('amount')).toBe('30000');
    expect(await worksOf(stage, job.id)).toMatchObject({ dispatched: 0, credited: 0 });
    await zap(asked, lightning);
    const receipts = () => ndk.fetchEvent({ kinds: [NDKKind.Zap], ...asked.filter() });
    const receipt = await eventually(receipts, (event) => event !== null);
    expect(receipt && zapInvoiceFromEvent(receipt)).toMatchObject({
      ...{ zappedEvent: asked.id, zapped: stage.us, zappee: ndk.activeUser?.pubkey, amount: 30_000 },
    });

    const result = NDKDVMJobResult.from(await job.word(String(kind + 1000)));
    expect(await job.words(3)).toEqual([ASKED, BEGUN, String(kind + 1000)]);
    expect(result.jobRequestId).toBe(job.id);
    expect(JSON.parse(result.result ?? '')).toMatchObject({ words: 6 });
    for (const url of urls()) {
      const alone = await connect([url]);
      const kept = () => alone.fetchEvents({ kinds: [NDKKind.DVMJobFeedback, kind + 1000], ...request.filter() });
      const all = await eventually(kept, ({ size }) => size === 3);
      expect([...all].map(({ content }) => content).filter(Boolean)).toEqual([result.content]);
      leave(alone);
    }
    const balance = await stage.root`select available::int, held::int from credits.accounts a
      join workflows.nostr_jobs j using (account_id) where j.id = ${job.id}`;
    expect(balance).toEqual([{ available: 0, held: 0 }]);
    expect(await worksOf(stage, job.id)).toEqual(ONCE);
  });

  test.for(Object.entries(ciphers))(
    'encrypts a request (%s), and can decrypt the result',
    async ([, hide], { ndk }) => {
      const { kind } = await stage.sell();
      const request = requestOf(ndk, stage.us, kind, { text: 'a secret' });
      await hide(request, ndk.getUser({ pubkey: stage.us }));
      const job = await send(ndk, request);
      await zap(await job.word(ASKED), lightning);
      const result = await job.word(String(kind + 1000));
      expect(result.content.includes('?iv=')).toBe(request.content.includes('?iv='));
      expect(result.content).not.toContain('secret');
      await result.decrypt();
      expect(JSON.parse(result.content)).toEqual({ echo: { text: 'a secret' } });
    },
  );

  // REQ V8
  test('reads part after part in secret, each when it has zapped it', async ({ ndk }) => {
    const { kind } = await stage.sell({ milestones: [10, 20] }, { path: '/milestones' });
    const request = requestOf(ndk, stage.us, kind, { text: 'a secret' });
    await request.encryption(ndk.getUser({ pubkey: stage.us }));
    const job = await send(ndk, request);
    for (const n of [1, 2]) {
      await zap(await job.word(ASKED, n), lightning);
      const part = await job.word(PART, n);
      expect(JSON.parse(part.tagValue('content') ?? '')).toEqual({ text: `part ${n} of 2` });
    }
    expect(await job.words(6)).toEqual([ASKED, BEGUN, PART, ASKED, PART, String(kind + 1000)]);
  });

  // REQ V7
  test('reads why a secret request is refused', async ({ ndk }) => {
    const schema = { type: 'object', properties: { count: { type: 'integer' } } };
    const { kind } = await stage.sell({}, { input_schema: schema });
    const request = requestOf(ndk, stage.us, kind, { count: 'many' });
    await request.encryption(ndk.getUser({ pubkey: stage.us }));
    const error = await (await send(ndk, request)).word(ERROR);
    expect(error.getMatchingTags('status').at(-1)?.[2]).toContain('/input/count');
  });
});

const relays = Object.keys(makers).map((maker, gone) => ({ maker, gone }));
test.for(relays)(
  'the relay of $maker goes while its job runs: the result comes by the other one',
  async ({ gone }, { ndk }) => {
    const path = `/held-${gone}`;
    held.set(path, Promise.withResolvers());
    const { kind } = await stage.sell({}, { path });
    const job = await send(ndk, requestOf(ndk, stage.us, kind, {}));
    await zap(await job.word(ASKED), lightning);
    await job.word(BEGUN);
    await stage.relays[gone]?.vanish();
    onTestFinished(() => stage.relays[gone]?.comeBack());
    held.get(path)?.resolve();
    const result = await job.word(String(kind + 1000));
    expect(result.onRelays.map(({ url }) => url)).toEqual([`${urls()[1 - gone]}/`]);
    expect(await worksOf(stage, job.id)).toEqual(ONCE);
  },
);
