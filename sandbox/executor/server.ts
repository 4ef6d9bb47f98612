import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Webhook } from 'standardwebhooks';
import { type Answer, perform, send } from './answer.ts';
import { answerByPath, behaviours, trunkOf } from './behaviours.ts';
import { Journal } from './journal.ts';
import { type AcceptedRun, type ReceivedRun, readBody, receive } from './receive.ts';
import { openReporter, type Report, type Reporter, type ReportMade } from './report.ts';

export interface ExecutorOptions {
  host?: string;
  port?: number;
  /** `whsec_…`, for every path that has none of its own. Without any, signatures are not checked. */
  secret?: string;
  /** By path: `/echo`, or `/status` for all below it. */
  secrets?: Record<string, string>;
  /** Pause before each callback. */
  callbackDelayMs?: number;
  /** What `/die` calls. */
  onDie?: (run: AcceptedRun) => void | Promise<void>;
  /** Learns of each POST, refused ones included, before it is answered. */
  onReceived?: (run: ReceivedRun) => void;
  /** How many runs and reports are remembered. */
  keep?: number;
}

/** Decides about each accepted run; undefined leaves it to the path. */
export type Rule = (run: AcceptedRun) => Answer | undefined | Promise<Answer | undefined>;

export interface Executor {
  readonly url: string;
  readonly port: number;
  /** Every POST that arrived, refused ones included, oldest first. */
  readonly runs: readonly ReceivedRun[];
  /** Every try of a callback and its outcome, oldest first. */
  readonly reports: readonly ReportMade[];
  /** Number of distinct run ids whose work was done. */
  readonly effects: number;
  /** Overrides the paths, until `reset` or the next call. */
  behave(rule: Rule): void;
  /** Takes the place of `secret`, or of the path's own: services are often made after their executor. */
  expectSecret(secret: string, path?: string): void;
  /** Makes one callback by hand. */
  report(run: ReceivedRun, report: Report): Promise<ReportMade>;
  /** Settles when no reply and no callback is pending. */
  idle(): Promise<void>;
  /** As new, at the same port with the same secrets; pending replies are cut off, pending callbacks dropped. */
  reset(): void;
  close(): Promise<void>;
}

const KEEP = 10_000;
const CALLBACK_DELAY_MS = 20;

/** A customer's HTTP executor, good and bad, that speaks the wire contract of dispatch and shares no code with Farebox. */
export async function startExecutor(options: ExecutorOptions = {}): Promise<Executor> {
  const host = options.host ?? '127.0.0.1';
  // A secret that is none throws here, and not as a 401 later.
  const verifiers = new Map(Object.entries(options.secrets ?? {}).map(([path, secret]) => [path, new Webhook(secret)]));
  const pending = new Set<Promise<void>>();
  let verifierOfAll = options.secret === undefined ? undefined : new Webhook(options.secret);
  let life = begin(options.keep ?? KEEP);

  const verifierOf = (path: string) => verifiers.get(path) ?? verifiers.get(trunkOf(path)) ?? verifierOfAll;
  const server = createServer((request, response) => {
    const served = serve(request, response, { life, options, verifierOf });
    pending.add(served);
    void served.finally(() => pending.delete(served));
  });
  await new Promise<void>((done, fail) => server.once('error', fail).listen(options.port ?? 0, host, done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');

  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`,
    port: address.port,
    get runs() {
      return life.journal.runs;
    },
    get reports() {
      return life.journal.reports;
    },
    get effects() {
      return life.journal.effects;
    },
    behave: (rule) => {
      life.rule = rule;
    },
    expectSecret: (secret, path) => {
      if (path === undefined) verifierOfAll = new Webhook(secret);
      else verifiers.set(path, new Webhook(secret));
    },
    report: async (run, report) => {
      if (!isAccepted(run)) throw new Error(`run ${run.runId} was refused: ${run.refusal?.reason}`);
      return life.reporter.post(run, report);
    },
    idle: async () => {
      while (pending.size > 0) await Promise.all(pending);
    },
    reset: () => {
      end(life);
      life = begin(options.keep ?? KEEP);
    },
    close: async () => {
      end(life);
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
      await Promise.all(pending);
    },
  };
}

/** What begins afresh with `reset`. A request belongs to the life it came in, so nothing old leaks into the next test. */
interface Life {
  journal: Journal;
  reporter: Reporter;
  rule: Rule;
  open: Set<ServerResponse>;
  over: AbortController;
}

function begin(keep: number): Life {
  const journal = new Journal(keep);
  const reporter = openReporter((report) => journal.reported(report));
  return { journal, reporter, rule: () => undefined, open: new Set(), over: new AbortController() };
}

function end(life: Life): void {
  life.over.abort();
  life.reporter.close();
  for (const response of life.open) response.destroy();
}

interface Serving {
  life: Life;
  options: ExecutorOptions;
  verifierOf(path: string): Webhook | undefined;
}

/** Never rejects: a fault in a test's rule is a 500, a caller who went away is nothing. */
async function serve(request: IncomingMessage, response: ServerResponse, serving: Serving): Promise<void> {
  const { open, over } = serving.life;
  open.add(response);
  response.once('close', () => open.delete(response));
  try {
    await reply(request, response, serving);
  } catch (error) {
    const mute = over.signal.aborted || response.headersSent;
    if (mute) response.destroy();
    else await send({ status: 500, json: { error: String(error) } }, response);
  }
}

async function reply(request: IncomingMessage, response: ServerResponse, serving: Serving): Promise<void> {
  const { life, options, verifierOf } = serving;
  const url = new URL(request.url ?? '/', 'http://executor');
  if (request.method !== 'POST') return sayWhatThereIs(request, url, response);
  const run = receive(request.headers, url, await readBody(request), verifierOf(url.pathname));
  life.journal.received(run);
  options.onReceived?.(run);
  if (!isAccepted(run)) {
    return send({ status: run.refusal?.status ?? 400, json: { error: run.refusal?.reason } }, response);
  }
  const setting = { callbackDelayMs: CALLBACK_DELAY_MS, onDie: () => {}, ...options };
  const answer = (await life.rule(run)) ?? (await answerByPath(run, setting));
  const { journal, reporter, over } = life;
  await perform(answer, run, { response, signal: over.signal, reporter, work: (runId) => journal.work(runId) });
}

const isAccepted = (run: ReceivedRun): run is AcceptedRun => run.data !== null;

/** A person with a browser learns what the paths do. */
async function sayWhatThereIs(request: IncomingMessage, url: URL, response: ServerResponse): Promise<void> {
  request.resume();
  if (url.pathname !== '/' || request.method !== 'GET') {
    return send({ status: 405, json: { error: 'POST a run here' }, headers: { allow: 'POST' } }, response);
  }
  const list = behaviours.map(({ path, about }) => ({ path, about }));
  return send({ status: 200, json: { behaviours: list } }, response);
}
