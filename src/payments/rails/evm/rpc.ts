import { type Dispatcher, request } from 'undici';
import { z } from 'zod';

/**
 * One node's JSON-RPC, trusted with nothing: each call has a deadline, each reply a size and a shape. viem's own
 * transport bounds no size, formats what it was not given, and puts the URL (which may be a key) into its errors.
 */
export interface Rpc {
  /** Throws `RpcFault` when there is no answer that can be relied on. */
  call<T>(method: string, params: unknown[], shape: z.ZodType<T>): Promise<T>;
}

/** The endpoint is in trouble. It says nothing about the payment. */
export class RpcFault extends Error {
  /** `timeout`, `unreachable`, `http_503`, `too_large`, `unreadable`, `refused`, `wrong_chain`, `stale`, `behind`. */
  readonly reason: string;
  constructor(reason: string, cause?: unknown) {
    super(`the chain's endpoint is in trouble: ${reason}`, { cause });
    this.name = 'RpcFault';
    this.reason = reason;
  }
}

export interface RpcOptions {
  url: string;
  /** For one call, from the first byte out to the last byte in. */
  deadlineMs: number;
  dispatcher: Dispatcher;
  /** `outcome` is `ok` or the reason of the fault. */
  onCall(method: string, outcome: string): void;
}

const MAX_REPLY_BYTES = 4 * 1024 * 1024; // the receipt of a block-filling transaction is below that

/** JSON-RPC 2.0 §5: a result or an error, and the id that was asked with. */
const Envelope = z.union([
  z.looseObject({ id: z.int(), error: z.looseObject({ code: z.number() }) }),
  z.looseObject({ id: z.int(), result: z.unknown() }),
]);

export function createRpc({ url, deadlineMs, dispatcher, onCall }: RpcOptions): Rpc {
  let last = 0;
  const ask = async <T>(method: string, params: unknown[], shape: z.ZodType<T>): Promise<T> => {
    last += 1;
    const id = last;
    const signal = AbortSignal.timeout(deadlineMs);
    const text = await post(url, JSON.stringify({ jsonrpc: '2.0', id, method, params }), { signal, dispatcher });
    return readReply(text, id, shape);
  };
  return {
    call: async (method, params, shape) => {
      try {
        const value = await ask(method, params, shape);
        onCall(method, 'ok');
        return value;
      } catch (fault) {
        if (fault instanceof RpcFault) onCall(method, fault.reason);
        throw fault;
      }
    },
  };
}

async function post(
  url: string,
  body: string,
  { signal, dispatcher }: { signal: AbortSignal; dispatcher: Dispatcher },
) {
  try {
    const headers = { 'content-type': 'application/json' };
    const reply = await request(url, { method: 'POST', headers, body, dispatcher, signal });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of reply.body) {
      size += chunk.length;
      if (size > MAX_REPLY_BYTES) {
        reply.body.destroy();
        throw new RpcFault('too_large');
      }
      chunks.push(chunk);
    }
    if (reply.statusCode !== 200) throw new RpcFault(`http_${reply.statusCode}`);
    return Buffer.concat(chunks).toString('utf8');
  } catch (fault) {
    if (fault instanceof RpcFault) throw fault;
    throw new RpcFault(signal.aborted ? 'timeout' : 'unreachable', fault);
  }
}

function readReply<T>(text: string, id: number, shape: z.ZodType<T>): T {
  const envelope = Envelope.safeParse(jsonOf(text));
  if (!envelope.success || envelope.data.id !== id) throw new RpcFault('unreadable');
  if ('error' in envelope.data) throw new RpcFault('refused');
  const value = shape.safeParse(envelope.data['result']);
  if (!value.success) throw new RpcFault('unreadable');
  return value.data;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
