import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NostrEvent } from 'nostr-tools/pure';
import { getPublicKey } from 'nostr-tools/pure';
import { WebSocket } from 'ws';
import { settingsOf } from '../dvm/stage.ts';
import { startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import { makers, type TestRelay } from '../nostr/stage.ts';
import type { Dice, Tally } from './tally.ts';

/** Two relays of two makers, which Farebox reaches by a bad network, and customers directly. They go and come, and one of them forgets. */

export interface ChaosRelay {
  maker: string;
  /** As customers reach it. */
  url: string;
  /** Between Farebox and it. */
  proxy: TcpProxy;
  /** What it has kept until now. */
  held(): NostrEvent[];
  /** The same, with what it had before it has forgotten. */
  everHeld(): NostrEvent[];
  /** Dies, and is there again after a while. */
  restart(afterMs: number, options?: { forgets: boolean }): Promise<void>;
  cut(): void;
}

export interface RelayWorld {
  relays: ChaosRelay[];
  /** Whom customers ask. */
  us: string;
  secret: Uint8Array<ArrayBuffer>;
  /** Most that is believed of one receipt. */
  maxZapMsat: bigint;
  /** None can be reached, and none is to be for a while. */
  areAway: boolean;
  env: Record<string, string>;
  close(): Promise<void>;
}

const MAX_ZAP_MSAT = 60_000n;
const AWAY_MS = [9_000, 11_000] as const;
const OTHER_FAULTS_MS = 1_000; // until what else is wrong with their networks is over
const COME_BACK_WITHIN_MS = 3_000; // another process may have borrowed the port for a moment

export async function openRelayWorld(): Promise<RelayWorld> {
  const secret = new Uint8Array(randomBytes(32));
  const started: { relay: TestRelay; chaos: ChaosRelay }[] = [];
  for (const [maker, make] of Object.entries(makers)) started.push(await onBadNetwork(maker, await make()));
  const relays = started.map(({ chaos }) => chaos);
  return {
    ...{ relays, secret, us: getPublicKey(secret), maxZapMsat: MAX_ZAP_MSAT, areAway: false },
    env: {
      ...settingsOf(
        secret,
        relays.map(({ proxy }) => `ws://127.0.0.1:${proxy.port}`),
      ),
      NOSTR_ALLOW: relays.map(({ url }) => new URL(url).host).join(','),
      ZAP_MAX_MSAT: String(MAX_ZAP_MSAT),
    },
    close: async () => {
      for (const { relay, chaos } of started) {
        await chaos.proxy.close();
        await relay.close();
      }
    },
  };
}

async function onBadNetwork(maker: string, relay: TestRelay): Promise<{ relay: TestRelay; chaos: ChaosRelay }> {
  const proxy = await startProxy({ target: { port: Number(new URL(relay.url).port) } });
  const forgotten = new Map<string, NostrEvent>();
  let isGone = false;
  const chaos: ChaosRelay = {
    ...{ maker, url: relay.url, proxy },
    held: () => relay.events(),
    everHeld: () => [...new Map([...forgotten, ...byId(relay.events())]).values()],
    restart: async (afterMs, { forgets } = { forgets: false }) => {
      isGone = true;
      relay.cut();
      await relay.vanish();
      if (forgets && relay.forget) {
        for (const [id, event] of byId(relay.events())) forgotten.set(id, event);
        relay.forget();
      }
      await sleep(afterMs);
      for (const end = Date.now() + COME_BACK_WITHIN_MS; isGone; await sleep(50)) {
        isGone = await relay.comeBack().then(
          () => false,
          (fault: unknown) => {
            if (Date.now() > end) throw fault;
            return true;
          },
        );
      }
    },
    cut: () => {
      if (!isGone) relay.cut();
    },
  };
  return { relay, chaos };
}

const byId = (events: NostrEvent[]) => events.map((event) => [event.id, event] as const);

/** A relay dies, forgets, or loses everybody who was connected. */
export async function relayTrouble({ relays }: RelayWorld, dice: Dice, tally: Tally): Promise<void> {
  const relay = dice.pick(relays);
  const deed = dice.pick(['restarted', 'restarted', 'restarted and empty', 'cut off'] as const);
  const afterMs = dice.between(100, 2_500);
  // Only the one by snstr keeps all it has in the process that dies.
  const empty = relays.find(({ maker }) => maker === 'snstr') ?? relay;
  tally.count(`the relay of ${deed === 'restarted and empty' ? empty.maker : relay.maker}`, deed);
  if (deed === 'cut off') relay.cut();
  else if (deed === 'restarted') await relay.restart(afterMs);
  else await empty.restart(afterMs, { forgets: true });
}

/** Nobody hears us, for longer than an answer of a relay is waited for. */
export async function allRelaysAway(world: RelayWorld, dice: Dice, tally: Tally): Promise<void> {
  const { relays } = world;
  tally.count('relays', 'all of them away');
  world.areAway = true;
  await sleep(OTHER_FAULTS_MS);
  for (const { proxy } of relays) proxy.refuse();
  for (const { proxy } of relays) proxy.resetAll();
  await sleep(dice.between(...AWAY_MS));
  for (const { proxy } of relays) await proxy.pass();
  world.areAway = false;
}

const AGAIN_MS = 250;
const ANSWER_WITHIN_MS = 3_000;
const NEWEST = 60; // of what is kept, at each connection: more than comes about one customer meanwhile

/** A customer's connection to a relay: hears what is said to its key, and is made anew when it is lost. */
export interface Line {
  /** False: it has not said that it took it. */
  send(event: NostrEvent): Promise<boolean>;
  close(): void;
}

export function openLine(
  { url }: ChaosRelay,
  who: { us: string; pubkey: string },
  onWord: (event: NostrEvent) => void,
): Line {
  const waiting = new Map<string, (isTaken: boolean) => void>();
  let socket: WebSocket | undefined;
  let isOver = false;
  const connect = () => {
    if (isOver) return;
    const now = new WebSocket(url, { perMessageDeflate: false });
    socket = now;
    const filter = { authors: [who.us], '#p': [who.pubkey], limit: NEWEST };
    now.on('open', () => now.send(JSON.stringify(['REQ', 'answers', filter])));
    now.on('message', (data) => {
      const [type, first, second] = JSON.parse(String(data)) as [string, string, unknown];
      if (type === 'OK') waiting.get(first)?.(second === true);
      // A relay may tell more than it was asked for.
      if (type === 'EVENT' && isFor(second as NostrEvent, who)) onWord(second as NostrEvent);
    });
    now.on('error', () => {}); // a close follows
    now.on('close', () => {
      for (const answer of waiting.values()) answer(false);
      setTimeout(connect, AGAIN_MS).unref();
    });
  };
  connect();
  return {
    send: async (event) => {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      const answer = Promise.withResolvers<boolean>();
      waiting.set(event.id, answer.resolve);
      const late = setTimeout(() => answer.resolve(false), ANSWER_WITHIN_MS);
      socket.send(JSON.stringify(['EVENT', event]));
      return answer.promise.finally(() => {
        clearTimeout(late);
        waiting.delete(event.id);
      });
    },
    close: () => {
      isOver = true;
      socket?.terminate();
    },
  };
}

const isFor = ({ pubkey, tags }: NostrEvent, who: { us: string; pubkey: string }) =>
  pubkey === who.us && tags.some(([name, value]) => name === 'p' && value === who.pubkey);
