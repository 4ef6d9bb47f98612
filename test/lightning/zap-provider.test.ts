import { expect, onTestFinished, test } from 'vitest';
import { startLightning } from '../../sandbox/lightning/server.ts';
import { startWallet } from '../../sandbox/lightning/wallet.ts';
import { startRelay } from '../../sandbox/nostr/relay.ts';
import { matchReceipt, readReceipt } from '../../src/payments/rails/lightning/zap-receipt.ts';
import { createLog } from '../../src/platform/log.ts';
import { type NostrEvent, signEvent } from '../../src/platform/nostr/event.ts';
import { openRelays } from '../../src/platform/nostr/relays.ts';
import { eventually, type Json } from '../harness/client.ts';
import { ASK, customer, rules, us } from './zaps.ts';

/** A zap from the address to the receipt, as a client makes it (LUD-06, NIP-57), over a relay. */

async function startProvider() {
  const relay = await startRelay();
  const wallet = await startWallet({ relayUrl: relay.url });
  const lightning = await startLightning({ wallet, relayUrl: relay.url });
  onTestFinished(async () => {
    await lightning.close();
    wallet.close();
    await relay.close();
  });
  return { relay, lightning };
}
const json = async (url: string, init: RequestInit = {}): Promise<Json> => (await fetch(url, init)).json();

function zapRequest(relayUrl: string, amount: string) {
  const tags = [
    ['relays', relayUrl],
    ['amount', amount],
    ['p', us.public],
    ['e', ASK],
  ];
  return signEvent({ kind: 9734, created_at: Math.floor(Date.now() / 1000), content: '', tags }, customer.secret);
}

// REQ V3 V5
test('a zap is asked for, paid, told over the relay, and taken for what it is', async () => {
  const { relay, lightning } = await startProvider();
  const heard: NostrEvent[] = [];
  const relays = openRelays({ urls: [relay.url], log: createLog('silent'), key: us.secret });
  onTestFinished(() => relays.close());
  relays.follow({
    filters: (since) => [{ kinds: [9735], '#p': [us.public], since }],
    startAt: async () => new Date(),
    onEvent: async (event) => void heard.push(event),
  });
  const offer = await json(`${lightning.url}/.well-known/lnurlp/farebox`);
  expect(offer).toMatchObject({ allowsNostr: true, nostrPubkey: lightning.provider.publicKey });
  const asked = new URLSearchParams({ amount: '21000', nostr: JSON.stringify(zapRequest(relay.url, '21000')) });
  const { pr } = await json(`${offer.callback}?${asked}`);
  const body = JSON.stringify({ invoice: pr });
  const pay = () =>
    json(`${lightning.url}/pay`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  expect([await pay(), await pay()]).toEqual([{ paid: true }, { paid: false }]);
  const [receipt] = await eventually(
    async () => heard,
    (all) => all.length > 0,
  );
  const trusting = {
    ...rules,
    providers: [{ key: offer.nostrPubkey, from: null, until: null }],
    lnurl: lightning.lnurl,
  };
  const ask = { amountMsat: 21_000n, issuedAt: new Date(Date.now() - 10_000), payer: customer.public };
  expect(matchReceipt(readReceipt(receipt, trusting, new Date()), ask, false)).toMatchObject({
    ...{ verdict: 'paid', payment: { amountMsat: 21_000n, eventId: ASK, preimage: 'hashes' } },
  });
});

test('the address makes no invoice for what is no zap', async () => {
  const { relay, lightning } = await startProvider();
  const request = JSON.stringify(zapRequest(relay.url, '21000'));
  const ask = (query: Record<string, string>) =>
    json(`${lightning.url}/lnurlp/farebox/callback?${new URLSearchParams(query)}`);
  for (const query of [
    { amount: '21000' },
    { amount: '1', nostr: request },
    { amount: '22000', nostr: request },
    { amount: '21000', nostr: '{}' },
  ])
    expect((await ask(query as never)).status, JSON.stringify(query)).toBe('ERROR');
});
