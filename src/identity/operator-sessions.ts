import { and, eq, gt, isNull, lt, or, sql } from 'drizzle-orm';
import type { Alarm } from '../platform/audit-log.ts';
import type { Db } from '../platform/database/clients.ts';
import type { Worker } from '../platform/delivery/worker.ts';
import { Problem } from '../platform/http/problem.ts';
import type { Door } from '../platform/ops/door.ts';
import { hashToken, newToken } from '../platform/secrets.ts';
import { logIn } from './accounts.ts';
import { lockAccount } from './sessions.ts';
import { accounts, operatorSessions } from './tables.ts';

/**
 * Log-ins at the operators' pages. Short, because whoever sits down at that screen next can give money away; ended by
 * everything that ends the account's other sessions.
 */
const IDLE_MIN = 15;
const WHOLE_HOURS = 8;

const isAlive = and(
  gt(operatorSessions.seenAt, sql`now() - make_interval(mins => ${IDLE_MIN})`),
  gt(operatorSessions.createdAt, sql`now() - make_interval(hours => ${WHOLE_HOURS})`),
);

export const operatorDoor = (db: Db, alarm: Alarm): Door => ({
  logIn: async (email, password, requestId) => {
    const proven = await logIn(db, email, password).catch((fault) => {
      if (fault instanceof Problem && fault.status === 401)
        alarm({ actor: 'anonymous', action: 'security.login_failed', requestId });
      throw fault;
    });
    if (proven.role !== 'operator') {
      alarm({ actor: proven.id, action: 'security.operator_door_refused', requestId });
      throw new Problem('forbidden', 'This account is not an operator’s.');
    }
    const token = newToken();
    await db.transaction(async (tx) => {
      const { id, tokenVersion } = proven;
      const present = await lockAccount(tx, id);
      if (present?.tokenVersion !== tokenVersion) throw new Problem('invalid_credentials');
      await tx.insert(operatorSessions).values({ tokenHash: hashToken(token), accountId: id, tokenVersion });
    });
    return token;
  },

  whoHas: async (token) => {
    const [found] = await db
      .update(operatorSessions)
      .set({ seenAt: sql`now()` })
      .from(accounts)
      .where(
        and(
          eq(operatorSessions.tokenHash, hashToken(token)),
          isAlive,
          eq(accounts.id, operatorSessions.accountId),
          eq(accounts.tokenVersion, operatorSessions.tokenVersion),
          eq(accounts.role, 'operator'),
          isNull(accounts.disabledAt),
        ),
      )
      .returning({ accountId: accounts.id, email: accounts.email });
    return found && { accountId: found.accountId, email: found.email ?? '' };
  },

  logOut: async (token) => {
    await db.delete(operatorSessions).where(eq(operatorSessions.tokenHash, hashToken(token)));
  },
});

/** Forgets sessions that are over. */
export const operatorSessionReaper = (db: Db): Worker => ({
  name: 'operator-session-reaper',
  everyMs: 3_600_000,
  runOnce: async () => {
    const idle = lt(operatorSessions.seenAt, sql`now() - interval '1 day'`);
    const old = lt(operatorSessions.createdAt, sql`now() - interval '1 day'`);
    await db.delete(operatorSessions).where(or(idle, old));
    return { more: false };
  },
});
