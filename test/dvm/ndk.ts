import NDK, {
  type LnPayCb,
  NDKDVMRequest,
  type NDKEvent,
  type NDKFilter,
  NDKKind,
  NDKPrivateKeySigner,
  NDKZapper,
} from '@nostr-dev-kit/ndk';
import { expect } from 'vitest';
import type { LightningServer } from '../../sandbox/lightning/server.ts';
import { eventually } from '../harness/client.ts';
import { wordOf } from './stage.ts';

/** A client of other people's making: what goes over the wire is NDK's work, and what is here only waits for it. */

export async function connect(urls: string[], signer = NDKPrivateKeySigner.generate()): Promise<NDK> {
  const ndk = new NDK({ explicitRelayUrls: urls, signer, enableOutboxModel: false }); // that would call public relays
  await ndk.connect(5_000);
  return ndk;
}

export function leave(ndk: NDK): void {
  for (const relay of ndk.pool.relays.values()) relay.disconnect();
}

export function requestOf(ndk: NDK, provider: string, kind: number, params: Record<string, string>): NDKDVMRequest {
  const request = new NDKDVMRequest(ndk);
  request.kind = kind;
  request.dvm = ndk.getUser({ pubkey: provider });
  for (const [name, value] of Object.entries(params)) request.addParam(name, value);
  return request;
}

export interface Job {
  id: string;
  /** The words of so many answers, in the order of their time, once they are there. */
  words(count: number): Promise<string[]>;
  /** The answer with this word, once it is there. */
  word(what: string, n?: number): Promise<NDKEvent>;
}

export async function send(ndk: NDK, request: NDKDVMRequest): Promise<Job> {
  await request.sign();
  const heard: NDKEvent[] = [];
  const answers: NDKFilter = { kinds: [NDKKind.DVMJobFeedback, request.kind + 1000], ...request.filter() };
  // Wrapped: what is feedback it has decrypted before anybody gets to see it.
  ndk.subscribe(answers, { closeOnEose: false, wrap: true }, { onEvent: (event) => void heard.push(event) });
  await request.publish();
  const said = async () =>
    heard
      .toSorted((a, b) => (a.created_at ?? 0) - (b.created_at ?? 0))
      .map((event) => ({ event, word: wordOf(event.rawEvent()) }));
  const words = async () => (await said()).map(({ word }) => word);
  return {
    id: request.id,
    words: (count) => eventually(words, ({ length }) => length >= count),
    word: async (what, n = 1) => {
      await eventually(words, (all) => all.filter((word) => word === what).length >= n);
      return (await said()).filter(({ word }) => word === what)[n - 1]?.event as NDKEvent;
    },
  };
}

/** Zaps what has asked at the address in the profile of its author, and pays the invoice that is made there. */
export async function zap(asked: NDKEvent, lightning: LightningServer): Promise<void> {
  const lnPay: LnPayCb = async ({ pr }) => {
    const body = JSON.stringify({ invoice: pr });
    const headers = { 'content-type': 'application/json' };
    const reply = await fetch(`${lightning.url}/pay`, { method: 'POST', headers, body });
    expect(await reply.json()).toEqual({ paid: true });
    const receipt = lightning.provider.receipts().find(({ tags }) => tags.some(([, value]) => value === pr));
    return { preimage: receipt?.tags.find(([name]) => name === 'preimage')?.[1] ?? '' };
  };
  const zapper = new NDKZapper(asked, Number(asked.tagValue('amount')), 'msat', { lnPay });
  const trouble: string[] = []; // what goes wrong it only notes
  zapper.on('notice', (notice) => trouble.push(notice));
  await zapper.zap().catch(({ message }: Error) => trouble.push(message));
  expect(trouble).toEqual([]);
}
