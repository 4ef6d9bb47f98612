import { z } from 'zod';
import { audit } from '../audit-log.ts';
import type { Db } from '../database/clients.ts';
import { callerOf } from '../http/access.ts';
import { once } from '../http/idempotency.ts';
import { Problem } from '../http/problem.ts';
import type { App } from '../http/server.ts';
import { answers, line, time, timeOut } from '../http/wire.ts';
import type { Vault } from '../secrets.ts';
import type { Halt } from './halt.ts';
import { clearHalt, isHalted, lastAudit } from './kept.ts';
import { type CheckResult, isSound } from './run-audit.ts';
import type { SelfAudit } from './self-audit.ts';

const CheckOut = z.object({
  id: z.string(),
  rule: z.string().describe('what must hold'),
  over: z.string().describe('what was looked at'),
  checked: z.int().nullable().describe('how many of them; null: the whole'),
  offending: z.int().describe('how many break the rule'),
  examples: z.array(z.string()).describe('keys of some of these'),
  money: z.boolean().describe("whether somebody's money may be wrong"),
  ms: z.int().describe('time for all checks over the same rows'),
});

const AuditOut = z
  .object({
    object: z.literal('audit'),
    status: z.enum(['idle', 'running']).describe('of the replica that answers'),
    halted: z.boolean().describe('whether new purchases and runs are refused'),
    last: z
      .object({ sound: z.boolean(), started_at: timeOut, finished_at: timeOut, checks: z.array(CheckOut) })
      .nullable()
      .describe('the last audit that was finished, broken rules first'),
  })
  .meta({ id: 'Audit' });

export const renderCheck = ({ id, rule, over, checked, offending, examples, money, ms }: CheckResult) =>
  ({ id, rule, over, checked, offending, examples, money, ms }) satisfies z.infer<typeof CheckOut>;

/** The audit of the books, for operators. */
export function auditRoutes(app: App, deps: { db: Db; vault: Vault; halt: Halt; selfAudit: SelfAudit }): void {
  const { db, vault, halt, selfAudit } = deps;
  const tags = ['operator'];

  const render = async (): Promise<z.infer<typeof AuditOut>> => {
    const [last, halted] = await Promise.all([lastAudit(db), isHalted(db)]);
    return {
      object: 'audit',
      status: selfAudit.isRunning ? 'running' : 'idle',
      halted,
      last: last
        ? {
            sound: isSound(last),
            started_at: time(last.startedAt),
            finished_at: time(last.finishedAt),
            checks: last.checks.toSorted((a, b) => Number(b.offending > 0) - Number(a.offending > 0)).map(renderCheck),
          }
        : null,
    };
  };

  app.get(
    '/v1/admin/audit',
    {
      config: { access: 'operator', rate: 'read' },
      schema: { tags, summary: 'What the last audit of the books found', response: answers({ 200: AuditOut }) },
    },
    render,
  );

  app.post(
    '/v1/admin/audit',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'none' },
      schema: {
        tags,
        summary: 'Audit the books now',
        description: 'One audit at a time: while one is under way, in whichever replica, this starts none.',
        response: answers({ 202: AuditOut }),
      },
    },
    async (request, reply) => {
      await audit(db, { actor: callerOf(request).accountId, action: 'platform.audit_asked', requestId: request.id });
      selfAudit.start();
      reply.code(202).header('Location', '/v1/admin/audit');
      return render();
    },
  );

  app.post(
    '/v1/admin/audit/clear',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Let purchases and runs go on after a halt',
        description: 'What was found and is still there halts again only when it becomes more.',
        body: z.strictObject({ reason: line(500) }),
        response: answers({ 200: AuditOut }),
      },
    },
    async (request, reply) => {
      await once({ db, vault }, request, reply, async (tx) => {
        if (!(await clearHalt(tx))) throw new Problem('conflict', 'There is no halt to clear.');
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'platform.audit_cleared',
          detail: { reason: request.body.reason },
          requestId: request.id,
        });
        return { status: 200, body: null };
      });
      await halt.look();
      return render();
    },
  );
}
