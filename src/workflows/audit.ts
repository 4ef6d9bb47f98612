import { transfers } from '../credits/index.ts';
import type { Check, Walk } from '../platform/audit/check.ts';
import { asksChecks } from './asks/audit.ts';
import { dvmChecks } from './dvm/audit.ts';

/** What must hold of runs, and between them and the ledger. */

const runs: Walk = {
  name: 'runs',
  table: 'workflows.runs',
  as: 'r',
  key: [
    ['account_id', 'uuid'],
    ['id', 'uuid'],
  ],
};
const workflows: Walk = { name: 'workflows', table: 'workflows.workflows', as: 'w', key: [['id', 'uuid']] };

const moved = (kind: 'spend' | 'return') => `(
  select t.amount from credits.transfers t
  where t.account_id = r.account_id and t.ref_type = 'run' and t.ref_id = r.id and t.kind = '${kind}')`;
const ofWorkflow = (columns: string) => `(select ${columns} from workflows.workflows w where w.id = r.workflow_id)`;
const ofService = (columns: string, id = 'r.service_id') =>
  `(select ${columns} from workflows.services s where s.id = ${id})`;

/** Events are kept for some months; older runs have none any more. */
const isToldOf = (at: string) => `${at} >= (select coalesce(min(e.created_at), 'infinity') from platform.events e)`;
/** An event is written in the transaction of what it tells of, and so at the same moment. */
const event = (columns: string, at: string, type: string) => `(
  select ${columns} from platform.events e where e.created_at = ${at} and e.subject_id = r.id and e.type = ${type} limit 1)`;
const ending = (columns: string) => event(columns, 'r.finished_at', "'workflows.run_' || r.state");

/** Its owner asked for it afterwards, whatever became of the run: the refund says how much. */
const isRefunded = `(
  select f.id from refunds.refunds f where f.subject_id = r.id and f.state = 'completed' limit 1) is not null`;

const ofRuns: Check[] = [
  {
    id: 'W01',
    rule: 'A run was paid for: one spend of its account, of exactly its cost; or by asks, and not spent for',
    over: runs,
    broken: `${moved('spend')} is distinct from case when r.quote is null then r.cost end`,
    money: true,
  },
  {
    id: 'W03',
    rule: 'A run that gave credits back did so on the ledger, and did not succeed, or was refunded',
    over: runs,
    // The other way round W02 asks: few runs have a return, and all would have to be looked up for it.
    broken: `r.quote is null and r.returned > 0 and (${moved('return')} is distinct from r.returned or r.state not in ('failed', 'cancelled') and not ${isRefunded})`,
    money: true,
  },
  {
    id: 'W04',
    rule: 'The start of a run, and its end, were told in the same transaction',
    over: runs,
    broken: `${isToldOf('r.created_at')} and ${event('e.seq', 'r.created_at', "'workflows.run_queued'")} is null
        and (r.quote is null or ${event('e.seq', 'r.created_at', "'workflows.run_awaiting_payment'")} is null)
      or r.finished_at is not null and coalesce(${isToldOf('r.finished_at')}, false) and ${ending('e.seq')} is null`,
  },
  {
    id: 'W05',
    rule: 'A run belongs to the owner of its workflow, and to the service of it',
    over: runs,
    broken: `(r.account_id, r.service_id) = ${ofWorkflow('w.account_id, w.service_id')} is not true`,
    money: true,
  },
  {
    id: 'W07',
    rule: 'A run that failed gave back all or nothing, as its service promised; one that was cancelled before it began gave back all; unless it was refunded',
    over: runs,
    broken: `r.quote is null and (r.returned not in (0, r.cost)
      or r.state = 'cancelled' and r.returned <> case when r.attempt = 0 then r.cost else 0 end
      or r.state in ('failed', 'cancelled') and coalesce(${ending("e.payload ->> 'returned'")} <> r.returned::text, false)
      or r.state = 'failed' and r.returned <> ${
        // A service that was never changed promised then what it says now.
        ofService("case when s.version > 1 then r.returned when s.refund_on_failure = 'full' then r.cost else 0 end")
      }) and not (r.returned > 0 and ${isRefunded})`,
    money: true,
  },
  {
    id: 'W08',
    rule: 'A run cost what was agreed: the cost of its price version',
    over: runs,
    broken: `r.cost <> ${ofWorkflow('case when w.price_version = r.price_version then w.credit_cost else r.cost end')}
      or r.cost <> ${ofService('case when s.price_version = r.price_version then s.credit_cost else r.cost end')}
      or r.price_version > ${ofService('s.price_version')}`,
    money: true,
  },
  {
    id: 'W12',
    rule: "A run's state, its times and its failure agree",
    over: runs,
    broken: `(r.finished_at is not null) <> (r.state in ('succeeded', 'failed', 'cancelled', 'expired'))
      or (r.failure_code is not null) <> (r.state = 'failed') or (r.state = 'running' and r.attempt < 1) or coalesce(r.finished_at < r.created_at, false)`,
  },
  {
    id: 'W06',
    rule: 'No open run is ten minutes past its deadline, or past the last sign of its last attempt',
    over: runs,
    broken: `r.state in ('queued', 'running') and (r.deadline_at < now() - interval '10 minutes'
      or r.state = 'running' and r.next_attempt_at < now() - interval '10 minutes' and r.attempt - r.attempts_before >= ${ofService('s.max_attempts')})`,
    only: 'live',
  },
];

export const workflowsChecks: Check[] = [
  ...ofRuns,
  ...asksChecks,
  ...dvmChecks,
  {
    id: 'W02',
    rule: 'What was spent, or given back, was for a run of the same account, which knows of it',
    over: transfers,
    broken: `t.kind in ('spend', 'return') and not (t.kind = 'return' and t.ref_type = 'settlement') and (t.ref_type <> 'run' or (
      select case t.kind when 'spend' then r.cost else r.returned end from workflows.runs r
      where r.account_id = t.account_id and r.id = t.ref_id) is distinct from t.amount)`,
    money: true,
  },
  {
    id: 'W09',
    rule: 'A workflow has an owner, and a price that its service has or had',
    over: workflows,
    broken: `(select u.id from identity.accounts u where u.id = w.account_id) is null
      or w.price_version > ${ofService('s.price_version', 'w.service_id')}
      or w.credit_cost <> ${ofService('case when s.price_version = w.price_version then s.credit_cost else w.credit_cost end', 'w.service_id')}`,
  },
];
