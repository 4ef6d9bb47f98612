import { decrypt, encrypt } from 'nostr-tools/nip04';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { type StandInWallet, startWallet, type WalletFaults } from '../../sandbox/lightning/wallet.ts';
import { type StandInRelay, startRelay } from '../../sandbox/nostr/relay.ts';
import { createLightningRail, type LightningRail } from '../../src/payments/rails/lightning/lightning.ts';
import { createLog } from '../../src/platform/log.ts';
import { publicKeyOf, signEvent } from '../../src/platform/nostr/event.ts';
import { walletConnection } from '../../src/platform/nostr/settings.ts';
import { eventually } from '../harness/client.ts';
import { hostileRelay } from '../nostr/hostile-relay.ts';

// A wallet by Alby's own service class, over a real relay.

let relay: StandInRelay;
let wallet: StandInWallet;
let rail: LightningRail;
const received: string[] = [];
const calls: string[] = [];

beforeAll(async () => {
  relay = await startRelay();
  wallet = await startWallet({ relayUrl: relay.url });
  rail = railTo(wallet);
});
afterAll(async () => {
  rail.close();
  wallet.close();
  await relay.close();
});
beforeEach(() => wallet.control.faults({}));

const railTo = ({ connectionUrl }: StandInWallet, deadlineMs = 5_000, networks = ['bcrt']) =>
  createLightningRail({
    ...{ connection: walletConnection.parse(connectionUrl), networks: new Set(networks as never[]), deadlineMs },
    log: createLog('silent'),
    onCall: (method, outcome) => void calls.push(`${method} ${outcome}`),
    onReceived: (paymentHash) => void received.push(paymentHash),
  });
/** One that does not wait long. */
const hasty = () => {
  const one = railTo(wallet, 700);
  onTestFinished(() => one.close());
  return one;
};
const make = async (on = rail) => {
  const made = await on.makeInvoice({ amountMsat: 21_000n, description: 'Starter', expiryS: 600 });
  if (made.outcome !== 'ok') throw new Error(JSON.stringify(made));
  return made.value;
};

test('an invoice is made, paid, told of, found and listed', async () => {
  const { bolt11, paymentHash, expiresAt } = await make();
  expect(bolt11).toMatch(/^lnbcrt210n1/);
  expect(Math.abs(expiresAt.getTime() - Date.now() - 600_000)).toBeLessThan(10_000);
  const unpaid = { paymentHash, amountMsat: 21_000n, isSettled: false };
  expect(await rail.look(paymentHash)).toEqual({ outcome: 'ok', value: unpaid });
  expect(await wallet.control.pay(`LIGHTNING:${bolt11.toUpperCase()}`)).toBe(true);
  await eventually(
    async () => received,
    (all) => all.includes(paymentHash),
  );
  const paid = { ...unpaid, isSettled: true };
  expect(await rail.look(paymentHash)).toEqual({ outcome: 'ok', value: paid });
  const listed = await rail.list(new Date(Date.now() - 60_000), 0);
  expect(listed).toMatchObject({ outcome: 'ok', value: { payments: [paid], hasMore: false } });
  expect(await rail.look('ab'.repeat(32))).toMatchObject({ outcome: 'rejected', code: 'NOT_FOUND' });
  expect(calls).toContain('lookup_invoice rejected');
});

test('more than a page of payments is listed page by page', async () => {
  const since = new Date(Date.now() - 60_000);
  for (let n = 0; n < 21; n += 1) await wallet.control.pay((await make()).paymentHash);
  const pages = [await rail.list(since, 0), await rail.list(since, 20)];
  expect(pages.map((one) => one.outcome === 'ok' && [one.value.payments.length, one.value.hasMore])).toEqual([
    [20, true],
    [expect.any(Number), false],
  ]);
});

test('a wallet whose clock is behind tells of what was paid since, all the same', async () => {
  const since = new Date();
  wallet.control.faults({ behindS: 60 });
  const { paymentHash } = await make();
  await wallet.control.pay(paymentHash);
  const payment = { paymentHash, amountMsat: 21_000n, isSettled: true };
  expect(await rail.list(since, 0)).toMatchObject({ value: { payments: expect.arrayContaining([payment]) } });
});

// What it says beside the invoice does not count, and an invoice of something else is none of ours.
test.each<[about: string, faults: WalletFaults, reason: string]>([
  ['an invoice of another amount', { msatAdded: 1 }, 'amount_differs'],
  ['the payment hash of something else', { paymentHash: 'cd'.repeat(32) }, 'payment_hash_differs'],
  ['an invoice of the real network', { network: 'bc' }, 'wrong_network'],
  ['an invoice that is over', { expiryS: 0 }, 'expired'],
])('a wallet that answers with %s is not believed', async (_, faults, reason) => {
  wallet.control.faults(faults);
  const order = { amountMsat: 21_000n, description: 'x', expiryS: 600 };
  expect(await rail.makeInvoice(order)).toEqual({ outcome: 'unknown', reason });
});

test('a wallet that tells of another payment than it was asked about is not believed', async () => {
  const { paymentHash } = await make();
  wallet.control.faults({ paymentHash: 'cd'.repeat(32), isGenerous: true });
  expect(await rail.look(paymentHash)).toEqual({ outcome: 'unknown', reason: 'unreadable_reply' });
});

test.each([
  ['RATE_LIMITED', 'unavailable'],
  ['INTERNAL', 'unavailable'],
  ['RESTRICTED', 'rejected'],
  ['NOT_IMPLEMENTED', 'rejected'],
])('its error %s is %s', async (code, outcome) => {
  wallet.control.faults({ error: { code, message: 'no' } });
  expect(await rail.look('ab'.repeat(32))).toMatchObject({ outcome });
});

test('a wallet that says nothing is waited for as long as agreed', async () => {
  const rail = hasty();
  const { paymentHash } = await make(rail);
  wallet.control.faults({ isSilent: true });
  const began = performance.now();
  expect(await rail.look(paymentHash)).toEqual({ outcome: 'unknown', reason: 'timeout' });
  expect(performance.now() - began).toBeLessThan(5_000);
});

test.each([
  ['too long', 'x'.repeat(200_000)],
  ['not to be deciphered', 'AgAAAAAA'],
  ['empty', ''],
])('an answer that is %s is none', async (_, content) => {
  const walletKey = new Uint8Array(32).fill(9);
  const hostile = await hostileRelay(([type, event], say) => {
    if (type !== 'EVENT') return;
    const { id, pubkey } = event as { id: string; pubkey: string };
    const tags = [
      ['e', id],
      ['p', pubkey],
    ];
    const asked = hostile.heard.find(([said]) => said === 'REQ')?.[1];
    const created_at = Math.floor(Date.now() / 1000);
    say(JSON.stringify(['EVENT', asked, signEvent({ kind: 23195, created_at, tags, content }, walletKey)]));
  });
  const secret = '08'.repeat(32);
  const url = `nostr+walletconnect://${publicKeyOf(walletKey)}?relay=${encodeURIComponent(hostile.url)}&secret=${secret}`;
  const rail = railTo({ ...wallet, connectionUrl: url });
  onTestFinished(() => rail.close());
  expect(await rail.look('ab'.repeat(32))).toEqual({ outcome: 'unknown', reason: 'unreadable_reply' });
});

test('a wallet that knows only NIP-04 is asked, and believed, by that', async () => {
  const walletKey = new Uint8Array(32).fill(9);
  const clientKey = new Uint8Array(32).fill(8);
  const client = publicKeyOf(clientKey);
  const created_at = Math.floor(Date.now() / 1000);
  const paymentHash = 'ab'.repeat(32);
  const sealed = (kind: number, value: unknown, tags: string[][]) =>
    signEvent({ kind, created_at, tags, content: encrypt(walletKey, client, JSON.stringify(value)) }, walletKey);
  const info = signEvent({ kind: 13194, created_at, tags: [], content: 'make_invoice lookup_invoice' }, walletKey);
  const relay = await hostileRelay(([type, first, filter], say) => {
    const tell = (id: unknown, event: unknown) => say(JSON.stringify(['EVENT', id, event]));
    if (type === 'REQ' && (filter as { kinds: number[] }).kinds[0] === 13194) {
      tell(first, info);
      say(JSON.stringify(['EOSE', first]));
    } else if (type === 'EVENT') {
      const { id, content, tags } = first as { id: string; content: string; tags: string[][] };
      const { method } = JSON.parse(decrypt(walletKey, client, content));
      expect([method, tags.map(([name]) => name)]).toEqual(['lookup_invoice', ['p', 'expiration']]);
      const following = relay.heard.find(
        ([said, , asked]) => said === 'REQ' && (asked as { kinds: number[] }).kinds[0] === 23195,
      );
      const result = { payment_hash: paymentHash, amount: 5, settled_at: created_at };
      tell(
        following?.[1],
        sealed(23195, { result_type: method, result }, [
          ['e', id],
          ['p', client],
        ]),
      );
      const told = { notification_type: 'payment_received', notification: { payment_hash: paymentHash } };
      tell(following?.[1], sealed(23196, told, [['p', client]]));
    }
  });
  const url = `nostr+walletconnect://${publicKeyOf(walletKey)}?relay=${encodeURIComponent(relay.url)}&secret=${clientKey.toHex()}`;
  const rail = railTo({ ...wallet, connectionUrl: url });
  onTestFinished(() => rail.close());
  await eventually(
    async () => relay.heard.filter(([type]) => type === 'CLOSE'),
    (closed) => closed.length > 0, // it has read how the wallet wants to be written to
  );
  const value = { paymentHash, amountMsat: 5n, isSettled: true };
  expect(await rail.look(paymentHash)).toEqual({ outcome: 'ok', value });
  await eventually(
    async () => received,
    (all) => all.includes(paymentHash),
  );
});

test('a relay that is gone is trouble, and not a failed payment; back again, everything goes on', async () => {
  const own = await startRelay();
  const other = await startWallet({ relayUrl: own.url });
  const rail = railTo(other, 2_000);
  onTestFinished(async () => {
    rail.close();
    other.close();
    await own.close();
  });
  const { paymentHash } = await make(rail);
  await own.control.vanish();
  expect((await rail.look(paymentHash)).outcome).toMatch(/^(unavailable|unknown)$/);
  await other.control.pay(paymentHash); // nobody hears it
  await own.control.comeBack();
  const seen = await eventually(
    () => rail.look(paymentHash),
    ({ outcome }) => outcome === 'ok',
  );
  expect(seen).toMatchObject({ value: { isSettled: true } });
});

test.each([
  '',
  'https://wallet.example.com',
  `nostr+walletconnect://${'ab'.repeat(31)}?relay=wss%3A%2F%2Fr.example.com&secret=${'07'.repeat(32)}`,
  `nostr+walletconnect://${'ab'.repeat(32)}?secret=${'07'.repeat(32)}`,
  `nostr+walletconnect://${'ab'.repeat(32)}?relay=ws%3A%2F%2Fr.example.com&secret=${'07'.repeat(32)}`,
  `nostr+walletconnect://${'ab'.repeat(32)}?relay=wss%3A%2F%2Fr.example.com`,
  `nostr+walletconnect://${'ab'.repeat(32)}?relay=wss%3A%2F%2Fr.example.com&secret=${'00'.repeat(32)}`,
])('a connection that is none is refused: %s', (text) => {
  expect(walletConnection.safeParse(text).success).toBe(false);
});
