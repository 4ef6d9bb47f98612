/**
 * Named places in the sagas, between every commit and every call, where the tests let a process die, fail or stand
 * still. In production they are nothing: no setting and no request leads to `setTrap`; only a module of the test harness
 * that is loaded before `src/main.ts` calls it.
 */
export const FAILPOINTS = [
  'identity.did.after_attempt',
  'identity.did.after_consume',
  'identity.did.after_sign_in',
  'payments.start.before_commit',
  'payments.start.after_commit',
  'payments.page.before_commit',
  'payments.charge.before_create',
  'payments.charge.after_create',
  'payments.charge.before_commit',
  'payments.charge.after_commit',
  'payments.charge.reject_before_commit',
  'payments.charge.abandon_before_commit',
  'payments.webhook.before_insert',
  'payments.webhook.after_insert',
  'payments.inbox.after_lease',
  'payments.inbox.before_close',
  'payments.inbox.after_close',
  'payments.converge.before_read',
  'payments.converge.after_read',
  'payments.converge.before_commit',
  'payments.converge.after_commit',
  'payments.apply.after_record',
  'payments.apply.after_claim',
  'payments.apply.after_post',
  'payments.poll.after_lease',
  'payments.poll.missing_before_commit',
  'payments.recover.after_list',
  'payments.sweep.after_list',
  'payments.sweep.before_watermark',
  'payments.sweep.after_watermark',
  'payments.reconcile.after_list',
  'payments.expiry.before_commit',
  'payments.expiry.after_commit',
  'payments.cancel.before_expire',
  'payments.cancel.after_expire',
  'payments.cancel.before_commit',
  'payments.cancel.after_commit',
  'payments.resolve.after_claim',
  'payments.resolve.after_post',
  'workflows.start.before_statement',
  'workflows.start.after_commit',
  'workflows.start.before_group',
  'workflows.start.after_group',
  'workflows.start.before_answer',
  'workflows.dispatch.before_lease_commit',
  'workflows.dispatch.after_lease',
  'workflows.dispatch.before_call',
  'workflows.dispatch.after_call',
  'workflows.dispatch.before_accept_commit',
  'workflows.dispatch.before_requeue_commit',
  'workflows.dispatch.after_record',
  'workflows.succeed.before_commit',
  'workflows.succeed.after_commit',
  'workflows.fail.before_commit',
  'workflows.fail.after_commit',
  'workflows.return.before_post',
  'workflows.return.after_post',
  'workflows.cancel.before_commit',
  'workflows.cancel.after_commit',
  'workflows.report.before_progress_commit',
  'workflows.report.after_progress_commit',
  'workflows.report.before_part_commit',
  'workflows.report.after_part_commit',
  'workflows.expire.after_find',
  'workflows.expire.before_commit',
  'workflows.expire.after_commit',
  'platform.idempotency.after_take',
  'platform.idempotency.before_commit',
  'platform.idempotency.after_commit',
  'platform.audit.before_seal_commit',
  'platform.audit.after_seal_commit',
  'platform.feed.before_read',
  'platform.feed.after_read',
  'platform.webhooks.before_fan_out_commit',
  'platform.webhooks.after_fan_out',
  'platform.webhooks.before_lease_commit',
  'platform.webhooks.after_lease',
  'platform.webhooks.after_call',
  'platform.webhooks.before_settle_commit',
  'platform.webhooks.after_settle',
] as const;

export type Failpoint = (typeof FAILPOINTS)[number];

let trap: ((name: Failpoint) => Promise<void> | undefined) | undefined;

/** Nothing, unless a test has set a trap. */
export const failpoint = (name: Failpoint): Promise<void> | undefined => trap?.(name);

/** What happens at the failpoints of this process from now on. For the test harness alone. */
export function setTrap(spring: (name: Failpoint) => Promise<void> | undefined): void {
  trap = spring;
}
