import type { Client, Json } from '../harness/client.ts';

export interface StreamEvent {
  id: string;
  /** Without its prefix. */
  type: string;
  data: Json;
}

export interface EventStream {
  status: number;
  headers: Headers;
  /** What has been told so far. */
  events: StreamEvent[];
  /** Lines that are comments: heartbeats. */
  comments: string[];
  /** Settles when the stream is over; rejects when it breaks off. */
  over: Promise<void>;
  leave(): void;
}

/** Reads server-sent events (WHATWG HTML §9.2.6) as a browser does. */
export async function listen(client: Client, url: string, path: string, lastEventId?: string): Promise<EventStream> {
  const leaving = new AbortController();
  const response = await fetch(url + path, {
    signal: leaving.signal,
    headers: {
      authorization: `Bearer ${client.token}`,
      accept: 'text/event-stream',
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    },
  });
  const events: StreamEvent[] = [];
  const comments: string[] = [];
  const read = async () => {
    let text = '';
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) take(block, events, comments);
    }
  };
  const over = read();
  over.catch(() => {}); // whoever cares waits for it
  return { status: response.status, headers: response.headers, events, comments, over, leave: () => leaving.abort() };
}

function take(block: string, events: StreamEvent[], comments: string[]) {
  const fields = new Map<string, string>();
  for (const line of block.split('\n')) {
    if (line.startsWith(':')) comments.push(line);
    else fields.set(line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2));
  }
  const data = fields.get('data');
  if (data === undefined) return;
  events.push({
    id: fields.get('id') ?? '',
    type: (fields.get('event') ?? '').replace('workflows.run_', ''),
    data: JSON.parse(data),
  });
}
