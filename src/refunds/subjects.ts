import type { Tx } from '../platform/database/clients.ts';
import type { Refund } from './history.ts';
import { orderSubject } from './of-order.ts';
import { purchaseSubject } from './of-purchase.ts';
import { requestSubject } from './of-request.ts';
import { runSubject } from './of-run.ts';
import type { RefundRail, SubjectType } from './tables.ts';

/** What somebody wants back. */
export interface Order {
  accountId: string;
  subject: { type: SubjectType; id: string; part: Refund['part'] | null };
  /** Credits; base units of an excess. Null: all that can be given back. */
  amount: bigint | null;
  target: 'credits' | 'original' | null;
}

/** What an order comes to. */
export interface Quote {
  part: Refund['part'];
  rail: RefundRail;
  /** Credits that are taken for the money, or given. */
  credits: bigint;
  amount: bigint;
  unit: string;
  worth: bigint | null;
  destination: string | null;
  /** A person decides, however little it is. */
  needsApproval: boolean;
}

/** A part of a subject as a refund speaks for it. */
export type Part = Pick<Refund, 'accountId' | 'subjectId' | 'part' | 'rail' | 'credits'> & { amount: string };

/**
 * What can be refunded: a closed union, and one of these for each kind. All in the caller's transaction, which locks the
 * subject first.
 */
export interface Subject {
  lock(tx: Tx, refund: Pick<Refund, 'accountId' | 'subjectId'>): Promise<void>;
  /** Locks the subject and answers what the order comes to; 404 for those of others, 409 or 422 for what cannot be. */
  quote(tx: Tx, order: Order): Promise<Quote>;
  /** Speaks for the part, so that nobody else does. */
  claim(tx: Tx, part: Part): Promise<void>;
  /** The part is free again. */
  drop(tx: Tx, part: Part): Promise<void>;
  /** Of the credits that the subject brought, those that this refund may take. */
  left(tx: Tx, refund: Refund): Promise<bigint>;
  /** The part has gone back. Rail `credits`: gives them. */
  settle(tx: Tx, refund: Refund): Promise<void>;
}

const subjects: Record<SubjectType, Subject> = {
  purchase: purchaseSubject,
  payment_request: requestSubject,
  run: runSubject,
  order: orderSubject,
};

export const subjectOf = ({ subjectType }: Pick<Refund, 'subjectType'>): Subject => subjects[subjectType];
