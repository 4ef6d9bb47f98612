import type { Clock } from '../clock.ts';
import { globMatches } from '../json.ts';
import type { ApiFault, FaultRule, WebhookFault } from './rules.ts';

export interface ArmedFault {
  id: string;
  rule: FaultRule;
  hits: number;
}

/** What a request meets: waiting first, then at most one fault. */
interface ApiTrouble {
  delayMs: number;
  fault: SpoilingFault | null;
}

export type SpoilingFault = Exclude<ApiFault, { api: 'latency' }>;

export interface FaultBook {
  arm(rule: FaultRule): string;
  clear(id?: string): void;
  list(): ArmedFault[];
  /** Draws for one request; a drawn rule counts as hit. */
  forRequest(method: string, endpoint: string, pathname: string): ApiTrouble;
  /** Draws for one event. */
  forEvent(key: string, charge: string | null): WebhookFault[];
}

interface Entry extends ArmedFault {
  armedAt: number;
}

export function createFaultBook(clock: Clock, random: () => number): FaultBook {
  let entries: Entry[] = [];
  let armed = 0;

  function fires(entry: Entry): boolean {
    const { times, for_ms, probability } = entry.rule;
    if (times !== undefined && entry.hits >= times) return false;
    if (for_ms !== undefined && clock.now() >= entry.armedAt + for_ms) return false;
    if (probability !== undefined && random() >= probability) return false;
    entry.hits += 1;
    return true;
  }

  return {
    arm(rule) {
      armed += 1;
      const id = `fault_${armed}`;
      entries.push({ id, rule, hits: 0, armedAt: clock.now() });
      return id;
    },
    clear(id) {
      entries = id === undefined ? [] : entries.filter((entry) => entry.id !== id);
    },
    list: () => entries.map(({ id, rule, hits }) => ({ id, rule, hits })),
    forRequest(method, endpoint, pathname) {
      const trouble: ApiTrouble = { delayMs: 0, fault: null };
      for (const entry of entries) {
        const { rule } = entry;
        if (!('api' in rule) || !aimsAtRequest(rule, method, endpoint, pathname)) continue;
        if (rule.api === 'latency') {
          if (fires(entry)) trouble.delayMs += rule.ms + random() * (rule.spread_ms ?? 0);
        } else if (trouble.fault === null && fires(entry)) {
          trouble.fault = rule;
        }
      }
      return trouble;
    },
    forEvent(key, charge) {
      const drawn: WebhookFault[] = [];
      for (const entry of entries) {
        const { rule } = entry;
        if ('webhook' in rule && aimsAtEvent(rule, key, charge) && fires(entry)) drawn.push(rule);
      }
      return drawn;
    },
  };
}

function aimsAtRequest(rule: ApiFault, method: string, endpoint: string, pathname: string): boolean {
  if (rule.method !== undefined && rule.method.toUpperCase() !== method) return false;
  return rule.path === undefined || rule.path === endpoint || globMatches(rule.path, pathname);
}

function aimsAtEvent(rule: WebhookFault, key: string, charge: string | null): boolean {
  if (rule.charge !== undefined && rule.charge !== charge) return false;
  return rule.key === undefined || globMatches(rule.key, key);
}
