import { SimplePool, useWebSocketImplementation } from 'nostr-tools/pool';
import { finalizeEvent, generateSecretKey, getPublicKey, type NostrEvent } from 'nostr-tools/pure';
import WebSocket from 'ws';
import type { Presence } from '../home.ts';
import { urlOf } from '../lightning/provider.ts';
import { call, type Json, show, TourFault, until } from './steps.ts';

/** Somebody with nothing but a key of Nostr asks for a job, zaps what is asked for it, and reads the result. */

const REQUEST_KIND = 5600;
const RESULT_KIND = 6600;
const short = (text: string) => `${text.slice(0, 16)}…`;
const tagOf = ({ tags }: NostrEvent, name: string): string[] => tags.find(([one]) => one === name) ?? [];

export async function tourDvm({ relayUrl, lightningUrl }: Presence): Promise<void> {
  useWebSocketImplementation(WebSocket);
  const pool = new SimplePool();
  try {
    await walk(pool, relayUrl, lightningUrl);
  } finally {
    pool.close([relayUrl]);
  }
}

async function walk(pool: SimplePool, relayUrl: string, lightningUrl: string): Promise<void> {
  const secret = generateSecretKey();
  const sign = (kind: number, tags: string[][]) =>
    finalizeEvent({ kind, tags, content: '', created_at: Math.floor(Date.now() / 1000) }, secret);
  const offer = await until(
    async () => pool.get([relayUrl], { kinds: [31_990], '#k': [String(REQUEST_KIND)] }),
    (event) => event !== null,
    'the announcement',
  );
  if (!offer) throw new TourFault('Nobody offers jobs of this kind.');
  const about = JSON.parse(offer.content) as Json;
  show('A job is found by its announcement on the relay', `REQ kind 31990, k=${REQUEST_KIND} at ${relayUrl}`, {
    offer: about.name,
    price: `${about.payment.amount_msat} millisatoshi, ${about.payment.mode}`,
    provider: short(offer.pubkey),
  });

  const request = sign(REQUEST_KIND, [
    ['param', 'text', 'Paid before it runs. Never twice.'],
    ['p', offer.pubkey],
  ]);
  const heard: NostrEvent[] = [];
  pool.subscribe(
    [relayUrl],
    { kinds: [7000, RESULT_KIND], '#e': [request.id] },
    { onevent: (event) => void heard.push(event) },
  );
  await Promise.any(pool.publish([relayUrl], request));
  const wait = (what: string, is: (event: NostrEvent) => boolean) =>
    until(
      async () => heard.find(is),
      (event) => event !== undefined,
      what,
    ) as Promise<NostrEvent>;
  show('A key that nobody knows asks for it', `EVENT kind ${REQUEST_KIND}`, {
    customer: short(getPublicKey(secret)),
    job: short(request.id),
  });

  const asked = await wait('the ask', (event) => tagOf(event, 'status')[1] === 'payment-required');
  const [, msat = '', invoice = ''] = tagOf(asked, 'amount');
  show('It is asked to pay before any work', 'EVENT kind 7000 payment-required', {
    amount: `${msat} millisatoshi`,
    ...(invoice ? { 'or invoice': short(invoice) } : {}),
    info: tagOf(asked, 'status')[2],
  });

  const profile = await pool.get([relayUrl], { kinds: [0], authors: [offer.pubkey] });
  const { lud06 } = profile ? (JSON.parse(profile.content) as Json) : about;
  if (!lud06) throw new TourFault('Neither the profile of the provider’s key nor the announcement tells where to zap.');
  const lnurlp = await call({ method: 'GET', url: urlOf(lud06), status: 200 });
  const zap = sign(9734, [
    ['relays', relayUrl],
    ['amount', msat],
    ['p', offer.pubkey],
    ['e', asked.id],
  ]);
  const callback = `${lnurlp.callback}?${new URLSearchParams({ amount: msat, nostr: JSON.stringify(zap) })}`;
  const { pr } = await call({ method: 'GET', url: callback, status: 200 });
  show('The ask is zapped: the provider makes an invoice for it', `GET ${lnurlp.callback}`, {
    lnurl: `${short(lud06)} of the ${profile ? 'profile' : 'announcement'}`,
    invoice: short(pr),
  });
  await call({ method: 'POST', url: `${lightningUrl}/pay`, body: { invoice: pr }, status: 200 });
  show('A wallet pays, and the provider tells of it on the relay', 'POST /pay; EVENT kind 9735', {
    paid: `${msat} millisatoshi`,
  });

  const result = await wait('the result', ({ kind }) => kind === RESULT_KIND);
  const words = heard.map((event) => (event.kind === 7000 ? tagOf(event, 'status')[1] : 'result'));
  show('The job is done and delivered', `EVENT kind ${RESULT_KIND}`, {
    heard: words.join(', '),
    result: result.content,
  });
}
