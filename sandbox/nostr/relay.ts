import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { EventRepository, type Filter, LogLevel, type Event as NostrEvent } from '@nostr-relay/common';
import { NostrRelay } from '@nostr-relay/core';
import { Validator } from '@nostr-relay/validator';
import { matchFilter } from 'nostr-tools/filter';
import { type WebSocket, WebSocketServer } from 'ws';

/** A relay on loopback, by @nostr-relay: the real protocol, what is kept lies in memory. */

export interface RelayOptions {
  /** Default: one that is free. */
  port?: number;
  /** Set: whoever writes has to say who it is (NIP-42). */
  hostname?: string;
  /** Events that one question is answered with at the most, whatever it asks for. */
  most?: number;
}

export interface StandInRelay {
  port: number;
  url: string;
  control: {
    /** What it keeps, oldest first. */
    events(): NostrEvent[];
    /** Cuts every connection off without a word, and takes new ones. */
    cut(): void;
    /** Is gone until `comeBack`; what it has kept it keeps. */
    vanish(): Promise<void>;
    comeBack(): Promise<void>;
    connections(): number;
    /** Says this to everybody, whatever it is. */
    say(text: string): void;
  };
  close(): Promise<void>;
}

export async function startRelay({ port = 0, hostname, most = MOST }: RelayOptions = {}): Promise<StandInRelay> {
  const memory = new Memory(most);
  const relay = new NostrRelay(memory, {
    logLevel: LogLevel.ERROR,
    filterResultCacheTtl: 0,
    ...(hostname === undefined ? {} : { hostname }),
  });
  const validator = new Validator();
  let server = await listen(port);
  const at = (server.address() as AddressInfo).port;
  serve(server);

  function serve(on: WebSocketServer) {
    on.on('connection', (socket, request) => {
      relay.handleConnection(socket as never, request.socket.remoteAddress);
      socket.on('message', (data) => void hear(socket, String(data)));
      socket.on('close', () => relay.handleDisconnect(socket as never));
      socket.on('error', () => {});
    });
  }

  async function hear(socket: WebSocket, text: string): Promise<void> {
    try {
      const message = await validator.validateIncomingMessage(text);
      const mayWrite = hostname === undefined || message[0] !== 'EVENT' || relay.isAuthorized(socket as never);
      if (mayWrite) await relay.handleMessage(socket as never, message);
      else socket.send(JSON.stringify(['OK', (message[1] as NostrEvent).id, false, 'auth-required: say who you are']));
    } catch (fault) {
      socket.send(JSON.stringify(['NOTICE', fault instanceof Error ? fault.message : 'what?']));
    }
  }

  const end = async () => {
    for (const socket of server.clients) socket.terminate();
    await new Promise((done) => server.close(done));
  };

  return {
    port: at,
    url: `ws://127.0.0.1:${at}`,
    control: {
      events: () => memory.all(),
      cut: () => {
        for (const socket of server.clients) socket.terminate();
      },
      vanish: end,
      comeBack: async () => {
        server = await listen(at);
        serve(server);
      },
      connections: () => server.clients.size,
      say: (text) => {
        for (const socket of server.clients) socket.send(text);
      },
    },
    close: async () => {
      await end();
      await relay.destroy();
    },
  };
}

async function listen(port: number): Promise<WebSocketServer> {
  const server = new WebSocketServer({ host: '127.0.0.1', port, perMessageDeflate: false });
  await once(server, 'listening');
  return server;
}

const MOST = 500; // as on many real relays

class Memory extends EventRepository {
  private readonly events = new Map<string, NostrEvent>();
  private readonly most: number;

  constructor(most: number) {
    super();
    this.most = most;
  }

  isSearchSupported(): boolean {
    return false;
  }

  upsert(event: NostrEvent) {
    const isDuplicate = this.events.has(event.id);
    const place = placeOf(event);
    for (const old of place === undefined ? [] : this.events.values()) {
      if (placeOf(old) === place && old.created_at < event.created_at) this.events.delete(old.id);
    }
    this.events.set(event.id, event);
    return { isDuplicate };
  }

  /** Who asks later hears of it, too (NIP-09); what it is about is kept, as by a relay that does not care. */
  override async deleteByDeletionRequest(event: NostrEvent): Promise<void> {
    this.events.set(event.id, event);
  }

  /** By the tags that are asked for, too, which the library's own comparison passes over. */
  find(filter: Filter): NostrEvent[] {
    return [...this.events.values()]
      .filter((event) => matchFilter(filter as never, event))
      .sort((a, b) => b.created_at - a.created_at)
      .slice(0, Math.min(filter.limit ?? this.most, this.most));
  }

  all(): NostrEvent[] {
    return [...this.events.values()];
  }

  async destroy(): Promise<void> {
    this.events.clear();
  }
}

/** Of a kind that is replaced by its newest (NIP-01), where it lies. */
function placeOf({ kind, pubkey, tags }: NostrEvent): string | undefined {
  if (kind === 0 || kind === 3 || (kind >= 10_000 && kind < 20_000)) return `${kind} ${pubkey}`;
  const name = tags.find(([key]) => key === 'd')?.[1] ?? '';
  return kind >= 30_000 && kind < 40_000 ? `${kind} ${pubkey} ${name}` : undefined;
}
