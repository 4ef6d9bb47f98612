import { toWire } from '../ids.ts';
import type { Case } from './panel.ts';

/** A step of an object's history, as contexts keep it. */
interface Kept {
  at: Date;
  actor: string;
  what: string;
  detail: unknown;
}

/** Accounts by the id that people know them by, details in one line. */
export const stepOf = ({ at, actor, what, detail }: Kept): Case['steps'][number] => ({
  at,
  who: actor.replace(/(?<=^account:).+/, (id) => toWire('account', id)),
  what: what.replaceAll('_', ' '),
  detail: inOneLine(detail as Record<string, unknown>),
});

/** `amount 500, currency THB` */
export const inOneLine = (detail: Record<string, unknown>): string =>
  Object.entries(detail)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
    .join(', ');
