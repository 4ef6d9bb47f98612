import { type Rpc, RpcFault } from './rpc.ts';

/**
 * The endpoints of one chain. A question is put to one endpoint wholly, never half to this one and half to that one: what
 * different nodes have seen does not fit together. One that is in trouble is passed over, and asked last for a while.
 */
export interface Endpoints {
  readonly count: number;
  /** The answers that agree, as many as `needs` calls for, or the trouble that was met instead. */
  ask<T>(question: (rpc: Rpc) => Promise<T>, needs?: (answer: T) => Needs): Promise<Asked<T>>;
  /** For what must hold of each of them. */
  askAll(question: (rpc: Rpc) => Promise<unknown>): Promise<void>;
}

export type Asked<T> = { answers: [T, ...T[]] } | { trouble: string };

/** How many endpoints must say the same, and what makes it the same. */
export interface Needs {
  voices: number;
  key: string;
}

const ONE: Needs = { voices: 1, key: '' };
const REST_MS = 30_000;

/** `onTrouble` is told of each endpoint (from 0, as configured) that could not answer a question, and why. */
export function createEndpoints(all: readonly Rpc[], onTrouble: (at: number, reason: string) => void): Endpoints {
  const troubledAt = new Map<Rpc, number>();
  const isResting = (rpc: Rpc) => Date.now() - (troubledAt.get(rpc) ?? 0) < REST_MS;
  const restedFirst = () => all.toSorted((a, b) => Number(isResting(a)) - Number(isResting(b)));

  const askOne = async <T>(rpc: Rpc, question: (rpc: Rpc) => Promise<T>): Promise<{ answer: T } | RpcFault> => {
    try {
      const answer = await question(rpc);
      troubledAt.delete(rpc);
      return { answer };
    } catch (fault) {
      if (!(fault instanceof RpcFault)) throw fault;
      troubledAt.set(rpc, Date.now());
      onTrouble(all.indexOf(rpc), fault.reason);
      return fault;
    }
  };

  return {
    count: all.length,
    askAll: async (question) => {
      await Promise.all(all.map((rpc) => askOne(rpc, question)));
    },
    ask: async (question, needs = () => ONE) => {
      const told = new Map<string, Parameters<typeof needs>[0][]>();
      let voices = 1;
      let trouble = 'no_endpoint';
      for (const rpc of restedFirst()) {
        const asked = await askOne(rpc, question);
        if (asked instanceof RpcFault) {
          trouble = asked.reason;
          continue;
        }
        const need = needs(asked.answer);
        // A grave answer is not outvoted by a light one: who needs two voices needs them whatever the next one says.
        voices = Math.max(voices, need.voices);
        const [first = asked.answer, ...others] = [...(told.get(need.key) ?? []), asked.answer];
        if (1 + others.length >= voices) return { answers: [first, ...others] };
        told.set(need.key, [first, ...others]);
      }
      return { trouble: told.size > 1 ? 'endpoints_disagree' : trouble };
    },
  };
}
