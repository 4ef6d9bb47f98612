import { and, eq, notInArray } from 'drizzle-orm';
import type { Tx } from '../platform/database/clients.ts';
import { Problem } from '../platform/http/problem.ts';
import { lockRunForRefund, returnRun } from '../workflows/index.ts';
import { nothingLeft, tooLarge, wrongTarget } from './refusals.ts';
import type { Order, Quote, Subject } from './subjects.ts';
import { refunds } from './tables.ts';

/** A run: its credits, by the policy of its service, and once: a run that failed has given them back by itself. */

async function quote(tx: Tx, { accountId, subject, amount: wanted, target }: Order): Promise<Quote> {
  const found = await lockRunForRefund(tx, accountId, subject.id);
  if (!found) throw new Problem('not_found');
  const { run, policy, paid, isHandedOver } = found;
  if (subject.part === 'excess') throw nothingLeft('A run has no excess.');
  if (target === 'original') throw wrongTarget('A run was paid with credits.');
  if (run.finishedAt === null) throw nothingLeft('The run is not over: cancel it.');
  if (run.returned > 0n) throw nothingLeft('The credits of the run were given back.');
  if (policy === 'none') throw nothingLeft('The service gives nothing back.');
  if (paid === 0n) throw nothingLeft('Nothing was paid for the run.');
  const amount = wanted ?? paid;
  if (amount > paid) throw tooLarge(Number(paid));
  return {
    ...{ part: 'whole', rail: 'credits', credits: amount, amount, unit: 'credit', worth: amount, destination: null },
    needsApproval: isHandedOver,
  };
}

export const runSubject: Subject = {
  lock: async (tx, { accountId, subjectId }) => {
    await lockRunForRefund(tx, accountId, subjectId);
  },
  quote,
  claim: async (tx, { subjectId }) => {
    const open = and(
      eq(refunds.subjectId, subjectId),
      eq(refunds.subjectType, 'run'),
      notInArray(refunds.state, ['rejected', 'failed']),
    );
    if ((await tx.$count(refunds, open)) > 0) throw nothingLeft('A refund of the run was asked for before.');
  },
  drop: async () => {},
  left: async () => 0n,
  settle: async (tx, { accountId, subjectId, credits }) => {
    if (!(await returnRun(tx, accountId, subjectId, credits)))
      throw nothingLeft('The credits of the run were given back.');
  },
};
