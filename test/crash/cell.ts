import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Failpoint } from '../../src/platform/failpoints.ts';
import type { CallOptions, Client, Json, Reply } from '../harness/client.ts';
import type { FailingChild } from '../harness/failing-child.ts';
import type { Kind } from '../harness/failpoints-in-child.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import type { CrashStage } from './stage.ts';

/** One story that has an end, whatever dies on the way. */
export interface Scenario<State> {
  name: string;
  /** What it comes past. */
  points: readonly Failpoint[];
  /** Its loops come by rarely: from the beginning they do not wait. Otherwise only after the fault. */
  isImpatient?: boolean;
  /** Everything up to the moment from which the fault may come. */
  set(stage: CrashStage): Promise<State>;
  /** To the end, with a client that repeats what it has no answer to. */
  play(cell: Cell, state: State): Promise<void>;
  /** Lets leases and pauses pass, after the fault. */
  lend?(stage: CrashStage, state: State): Promise<unknown>;
  /** What has happened, exactly: throws when anything happened twice or not at all. `isLate`: who stood still has gone on. */
  check(stage: CrashStage, state: State, isLate?: boolean): Promise<void>;
}

export interface CellPlan {
  // biome-ignore lint/suspicious/noExplicitAny: each scenario knows its own state
  scenario: Scenario<any>;
  point: Failpoint;
  kind: Kind;
  replicas: 1 | 2;
}

const PATIENCE_MS = 100_000; // a cell takes a second on a machine that has nothing else to do
const ANSWER_WITHIN_MS = { kill: 3_000, throw: 3_000, hang: 400 };
const ANSWER_AFTERWARDS_MS = 20_000; // nobody stands in the way any more: whoever repeats too soon only piles up work
const HANGS_MS = 250; // then who stands still alone is killed
const LEND_EVERY_MS = 400; // longer than any call that is meant to succeed
const LONG_PAUSE_MS = 300;

let cells = 0;

/** One fault at one place in one story, and everything until the world is as it was meant to be. */
export class Cell {
  readonly stage: CrashStage;
  readonly #plan: CellPlan;
  readonly #ticket: string;
  readonly #until = Date.now() + PATIENCE_MS;
  #state: unknown;
  #firedAt: number | undefined;
  #lentAt = 0;
  #handled = false;
  #handling: Promise<void> | undefined;
  /** Answers that no client should ever see. */
  readonly #bad: string[] = [];

  private constructor(stage: CrashStage, plan: CellPlan) {
    cells += 1;
    this.stage = stage;
    this.#plan = plan;
    this.#ticket = join(stage.folder, `ticket-${cells}`);
  }

  /** Throws when the point is not reached, the story does not end, or the books are wrong afterwards. */
  static async run(stage: CrashStage, plan: CellPlan): Promise<void> {
    const cell = new Cell(stage, plan);
    const { scenario, point, kind, replicas } = plan;
    await bringUp(stage, replicas);
    try {
      cell.#state = await scenario.set(stage);
      await cell.#all((child) => child.arm({ name: point, kind, ticket: cell.#ticket }));
      await scenario.play(cell, cell.#state);
      await cell.until('the failpoint is reached', async () => cell.#hasFired());
      await cell.#check();
      if (kind === 'hang') {
        // Who stood still goes on where it stood, with what it knew then.
        await cell.#all((child) => child.release());
        await stage.omise.settled();
        await sleep(50);
        await cell.#check(true);
      }
    } finally {
      await cell.#all((child) => child.disarm());
      await cell.#all((child) => child.release());
      stage.omise.clearFaults();
    }
  }

  /** Looks until it is so, and keeps the world turning meanwhile. */
  async until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    for (;;) {
      const seen = await look().catch((fault: unknown) => {
        if (Date.now() > this.#until) throw fault;
        return undefined;
      });
      if (seen !== undefined && seen !== false) return seen;
      if (Date.now() > this.#until) throw new Error(`not in time: ${what}; ${await this.#describe()}`);
      await this.#turn();
    }
  }

  /** One request with one key, repeated until the answer is final; a reply with another resource than before throws. */
  insist(
    client: Client,
    method: string,
    path: string,
    options: CallOptions,
    isFinal: (reply: Reply) => boolean = ({ status }) => status < 300,
  ): Promise<Json> {
    return this.until(`${method} ${path}`, async () => {
      const reply = await this.#ask(client, method, path, options);
      return reply && isFinal(reply) ? (reply.body ?? {}) : undefined;
    });
  }

  /** A request that may be lost: undefined then, or when it failed as the fault wants it to. */
  async #ask(client: Client, method: string, path: string, options: CallOptions): Promise<Reply | undefined> {
    const call = client.call(method, path, options).catch((fault: unknown) => {
      // A fault that is thrown is a 500; a process that dies or stands still is none.
      if (this.#plan.kind !== 'throw' && !(fault instanceof TypeError)) this.#bad.push(String(fault));
      return undefined;
    });
    const patienceMs = this.#handled ? ANSWER_AFTERWARDS_MS : ANSWER_WITHIN_MS[this.#plan.kind];
    return Promise.race([call, sleep(patienceMs, undefined)]);
  }

  #hasFired(): boolean {
    this.#firedAt ??= pidIn(this.#ticket) === undefined ? undefined : Date.now();
    return this.#firedAt !== undefined;
  }

  async #turn(): Promise<void> {
    const { scenario, kind } = this.#plan;
    if (this.#hasFired() && !this.#handled) {
      // Several may be looking at the world at once; one of them acts.
      this.#handling ??= this.#handle().finally(() => this.#rest());
      await this.#handling;
    }
    if (this.#hasFired() || scenario.isImpatient) {
      await this.#all((child) => child.hurry(LONG_PAUSE_MS));
    }
    if (this.#hasFired() && Date.now() - this.#lentAt > LEND_EVERY_MS) {
      this.#lentAt = Date.now();
      await scenario.lend?.(this.stage, this.#state);
      if (kind === 'hang') await endIdleTransactions(this.stage);
    }
    await sleep(25);
  }

  /** What whoever runs the replicas does about it. */
  async #handle(): Promise<void> {
    const { kind, replicas } = this.#plan;
    const hit = this.stage.replicas.find((child) => child.process()?.pid === pidIn(this.#ticket));
    if (kind === 'throw' || !hit) {
      this.#handled = true;
      return;
    }
    if (kind === 'kill' && hit.isAlive()) return; // it is about to die
    const other = this.stage.replicas.find((child) => child !== hit);
    if (replicas === 2 && other) {
      this.stage.front.prefer(other.publicPort);
      this.stage.inner.prefer(other.internalPort);
    } else if (kind === 'kill' || Date.now() - (this.#firedAt ?? 0) > HANGS_MS) await hit.start();
    else return;
    this.#handled = true;
  }

  #rest(): void {
    this.#handling = undefined;
  }

  async #check(isLate = false): Promise<void> {
    await this.#plan.scenario.check(this.stage, this.#state, isLate);
    const faults = await faultsAtRest(this.stage.farebox.database.superuserUrl);
    if (faults.length > 0) throw new Error(`the books are wrong:\n${faults.join('\n')}`);
    if (this.#bad.length > 0) throw new Error(`answers that must not be: ${this.#bad.join('\n')}`);
  }

  async #all(what: (child: FailingChild) => Promise<void>): Promise<void> {
    await Promise.all(this.stage.replicas.filter((child) => child.isAlive()).map(what));
  }

  async #describe(): Promise<string> {
    const alive = this.stage.replicas.map((child) => child.isAlive());
    const said = this.stage.replicas.flatMap(({ logged }) => logged.slice(-3).map((line) => JSON.stringify(line)));
    return `fired: ${this.#hasFired()}, alive: ${alive}, logged: ${said.join('\n').slice(0, 3000)}`;
  }
}

/** The replicas of this cell, all alive, the first one asked first. */
async function bringUp(stage: CrashStage, replicas: 1 | 2): Promise<void> {
  for (const [n, child] of stage.replicas.entries()) {
    if (n >= replicas) await child.kill();
    else await child.ready();
  }
  const [first] = stage.replicas;
  stage.front.prefer(first.publicPort);
  stage.inner.prefer(first.internalPort);
}

function pidIn(ticket: string): number | undefined {
  try {
    const text = readFileSync(ticket, 'utf8');
    return text === '' ? undefined : Number(text);
  } catch {
    return undefined;
  }
}

/** What `idle_in_transaction_session_timeout` does after ten seconds. */
const endIdleTransactions = ({ sql }: CrashStage) => sql`
  select pg_terminate_backend(pid) from pg_stat_activity
  where datname = current_database() and state = 'idle in transaction' and state_change < now() - interval '500 ms'`;
