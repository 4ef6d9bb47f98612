import { sqlState } from '../http/failures.ts';
import { retryLater } from '../http/problem.ts';

/** Orders of one lane are carried out in the order of their arrival; two with one key never share a commit. */
export interface Order {
  lane: string;
  key: string;
}

export interface GroupCommitterOptions<O extends Order, Answer> {
  /** Carries out one order in a transaction of its own, and waits for locks. */
  one(order: O): Promise<Answer>;
  /**
   * Carries out many in one transaction, exactly as one by one in this order would; answers in the same order.
   * `busy`: another transaction holds what the order needs, and nothing was done for it.
   */
  many(orders: readonly O[]): Promise<(Answer | 'busy')[]>;
  /** Transactions at a time of each kind: groups, and orders that go alone. */
  groups: number;
  alone: number;
  /** Called with the size of each commit. */
  observe?(size: number): void;
  /** Called when a group was refused, with the reason; its orders go alone now. */
  regroup?(fault: unknown): void;
}

export interface GroupCommitter<O extends Order, Answer> {
  /** Resolves after the commit. Throws `overloaded` when too many orders wait. */
  commit(order: O): Promise<Answer>;
  /** Orders that wait for their turn. */
  waiting(): number;
}

const MAX_GROUP = 64;
const MAX_WAITING = 4096; // a second's work on a small machine
const MAX_WAITING_PER_LANE = MAX_WAITING / 2; // so that one customer cannot keep all others out
/** Whose order failed goes alone for a while, so that a neighbour is not made to go twice again and again. */
const QUARANTINE_MS = 5_000;

interface Pending<O, Answer> {
  order: O;
  resolve(answer: Answer): void;
  reject(fault: unknown): void;
}

interface Lane<O, Answer> {
  id: string;
  waiting: Pending<O, Answer>[];
  isInFlight: boolean;
  /** So many of its next orders go alone. */
  alone: number;
}

/**
 * Collects the orders that arrive while a commit is running, so that the next commit serves all of them: no timer, hence
 * no delay when there is nothing to wait for, and one flush to disk for many customers when there is. Lanes take turns.
 *
 * An order that a group could not carry out (its row is locked, or the group failed because of one of its members) goes
 * alone in its lane, beside the groups: nobody else waits for it.
 */
export function createGroupCommitter<O extends Order, Answer>(
  options: GroupCommitterOptions<O, Answer>,
): GroupCommitter<O, Answer> {
  type OneLane = Lane<O, Answer>;
  type OnePending = Pending<O, Answer>;
  const lanes = new Map<string, OneLane>();
  /** Lanes with waiting orders and nothing in flight, by how their next order goes; first come, first served. */
  const ready = { together: new Set<OneLane>(), alone: new Set<OneLane>() };
  const running = { together: 0, alone: 0 };
  const quarantine = new Map<string, number>();
  let waiting = 0;
  let latestGroup = 0;
  let isPumpSet = false;

  async function commit(order: O): Promise<Answer> {
    const lane = lanes.get(order.lane) ?? { id: order.lane, waiting: [], isInFlight: false, alone: 0 };
    if (waiting >= MAX_WAITING || lane.waiting.length >= MAX_WAITING_PER_LANE) throw retryLater('overloaded', 1);
    return new Promise((resolve, reject) => {
      lanes.set(lane.id, lane);
      lane.waiting.push({ order, resolve, reject });
      waiting += 1;
      queue(lane);
      pumpSoon();
    });
  }

  /** Puts a lane where its next order belongs. */
  function queue(lane: OneLane): void {
    if (lane.isInFlight) return;
    if (lane.waiting.length === 0) lanes.delete(lane.id);
    else if (lane.alone > 0 || isQuarantined(lane.id)) ready.alone.add(lane);
    else ready.together.add(lane);
  }

  /** What one turn of the event loop brings goes together: those who were answered together often come back together. */
  function pumpSoon(): void {
    if (isPumpSet) return;
    isPumpSet = true;
    setImmediate(() => {
      isPumpSet = false;
      pump();
    });
  }

  function pump(): void {
    while (ready.together.size > 0 && mayRunTogether()) void runTogether();
    while (running.alone < options.alone && ready.alone.size > 0) void runAlone();
  }

  /** Beside a running group only one of its size: a few at a time would go where soon many could. */
  const mayRunTogether = () => running.together === 0 || (running.together < options.groups && waiting >= latestGroup);

  async function runTogether(): Promise<void> {
    running.together += 1;
    const group = compose();
    const members = [...group.values()].flat();
    latestGroup = members.length;
    options.observe?.(members.length);
    const [first] = members;
    if (members.length === 1 && first) await settle(first, options.one(first.order));
    else await settleGroup(group, members);
    running.together -= 1;
    release(group.keys());
  }

  async function runAlone(): Promise<void> {
    const [lane] = ready.alone;
    const next = lane?.waiting.shift();
    if (!lane || !next) return;
    ready.alone.delete(lane);
    lane.isInFlight = true;
    lane.alone = Math.max(0, lane.alone - 1);
    waiting -= 1;
    running.alone += 1;
    options.observe?.(1);
    const fault = await settle(next, options.one(next.order));
    if (isRefused(fault)) isolate(lane.id);
    running.alone -= 1;
    release([lane]);
  }

  /** One order of each lane in turn, and again, until the group is full. Arrival order within a lane. */
  function compose(): Map<OneLane, OnePending[]> {
    const group = new Map<OneLane, OnePending[]>();
    let size = 0;
    let before = -1;
    while (size < MAX_GROUP && size !== before) {
      before = size;
      for (const lane of group.size === 0 ? ready.together : group.keys()) {
        const mine = group.get(lane) ?? [];
        const [next] = lane.waiting;
        if (!next || mine.some(({ order }) => order.key === next.order.key)) continue;
        lane.waiting.shift();
        mine.push(next);
        group.set(lane, mine);
        size += 1;
        if (size === MAX_GROUP) break;
      }
    }
    for (const lane of group.keys()) {
      ready.together.delete(lane);
      lane.isInFlight = true;
    }
    waiting -= size;
    return group;
  }

  async function settleGroup(group: Map<OneLane, OnePending[]>, members: OnePending[]): Promise<void> {
    const answers = await options.many(members.map(({ order }) => order)).catch((fault) => {
      // The server refused the statement, so nothing was done: each goes alone, and the culprit fails alone. When the
      // connection was lost, nobody knows: the clients repeat their keys.
      if (isRefused(fault)) {
        options.regroup?.(fault);
        return 'refused';
      }
      for (const { reject } of members) reject(fault);
      return 'lost';
    });
    if (answers === 'lost') return;
    const again = new Set(answers === 'refused' ? members : members.filter((_, i) => answers[i] === 'busy'));
    for (const [lane, mine] of group) {
      const postponed = mine.filter((member) => again.has(member));
      lane.waiting.unshift(...postponed);
      waiting += postponed.length;
      // Whoever waited for the lock once has met its holder; whoever may be the culprit is found one by one.
      lane.alone = answers === 'refused' ? postponed.length : Math.min(1, postponed.length);
    }
    if (answers === 'refused') return;
    for (const [i, { resolve }] of members.entries()) {
      const answer = answers[i];
      if (answer !== 'busy' && answer !== undefined) resolve(answer);
    }
  }

  function release(freed: Iterable<OneLane>): void {
    for (const lane of freed) {
      lane.isInFlight = false;
      queue(lane);
    }
    pump();
  }

  function isolate(id: string): void {
    const now = Date.now();
    for (const [other, until] of quarantine) if (until < now) quarantine.delete(other);
    quarantine.set(id, now + QUARANTINE_MS);
  }

  const isQuarantined = (id: string) => (quarantine.get(id) ?? 0) > Date.now();

  return { commit, waiting: () => waiting };
}

/** Tells who gave the order; resolves to the fault, if there was one. */
const settle = <O, Answer>(pending: Pending<O, Answer>, answer: Promise<Answer>): Promise<unknown> =>
  answer.then(pending.resolve, (fault) => {
    pending.reject(fault);
    return fault;
  });

/** The server has answered, and with an error of the statement: not that it is going down (57P, 08). */
function isRefused(fault: unknown): boolean {
  const code = sqlState(fault)?.code;
  return code !== undefined && !/^(08|57P)/.test(code);
}
