import { post } from '../credits/index.ts';
import { audit } from '../platform/audit-log.ts';
import type { Tx } from '../platform/database/clients.ts';
import type { Refund } from './history.ts';

/** Credits that a refund gives: a grant, which the audit log explains as it does every grant. */
export async function giveCredits(tx: Tx, { id, accountId, credits }: Refund, reason: string): Promise<void> {
  const { result } = await post(tx, 'grant', accountId, credits, { type: 'refund', id });
  if (result !== 'posted') throw new Error(`the grant for a refund was ${result}`);
  const detail = { id, credits: Number(credits), reason };
  await audit(tx, { actor: 'saga', action: 'credits.grant', subjectId: accountId, detail });
}
