import type { Check, Walk } from '../audit/check.ts';

/** What must hold of webhooks: nothing that happened is lost on its way out, told twice, or told to others. */

const deliveries: Walk = {
  name: 'webhook deliveries',
  table: 'platform.webhook_deliveries',
  as: 'd',
  key: [['id', 'uuid']],
};

/** Of the last hour, and none at all where nobody is told. */
const news: Walk = {
  name: 'recent events',
  table: 'platform.events',
  where: "created_at > now() - interval '1 hour' and exists (select from platform.webhook_endpoints where enabled)",
  as: 'e',
  key: [
    ['created_at', 'timestamptz'],
    ['seq', 'bigint'],
  ],
};

const eventOf = (column: string) =>
  `(select e.${column} from platform.events e where e.created_at = d.event_at and e.seq = d.event_seq)`;

export const webhooksChecks: Check[] = [
  {
    id: 'E01',
    rule: 'A delivery tells an account of an event of its own, and of the subject that it is held by',
    over: deliveries,
    broken: `${eventOf('subject_id')} is distinct from d.subject_id or ${eventOf('account_id')} is distinct from
      (select w.account_id from platform.webhook_endpoints w where w.id = d.endpoint_id)`,
  },
  {
    id: 'E02',
    rule: 'A delivery is held only behind one of its subject that is under way',
    over: deliveries,
    broken: `d.state = 'held' and not exists (
      select from platform.webhook_deliveries first
      where first.endpoint_id = d.endpoint_id and first.subject_id = d.subject_id and first.state in ('pending', 'sending'))`,
  },
  {
    id: 'E03',
    rule: 'What counts as delivered was taken: its last attempt was answered by a 2xx',
    over: deliveries,
    broken: `d.state = 'delivered' and (
      select a.status from platform.webhook_attempts a where a.delivery_id = d.id and a.attempt = d.attempt
    ) between 200 and 299 is not true`,
  },
  {
    id: 'E04',
    rule: 'Every event has become a delivery for each endpoint of its account that asked for it',
    over: news,
    // The minute is for transactions that were under way when the endpoint was made or changed.
    broken: `(e.xid, e.seq) <= (select c.xid, c.seq from platform.webhook_cursor c) and exists (
      select from platform.webhook_endpoints w
      where w.account_id = e.account_id and w.deleted_at is null and w.enabled and e.created_at > w.told_since + interval '1 minute'
        and w.events && array['*', split_part(e.type, '.', 1) || '.*', e.type]
        and not exists (select from platform.webhook_deliveries d where d.endpoint_id = w.id and d.event_seq = e.seq))`,
    only: 'live',
  },
  {
    id: 'E05',
    rule: 'Events become deliveries within a quarter of an hour',
    over: 'webhook cursor',
    broken: `select moved_at::text as key from platform.webhook_cursor where moved_at < now() - interval '15 minutes'`,
    only: 'live',
  },
];
