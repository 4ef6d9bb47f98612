import type { Check, Walk } from '../platform/audit/check.ts';
import { didChecks } from './did/audit.ts';

/** What must hold of accounts. Written for a role that may not see what opens one. */

const accounts: Walk = {
  name: 'accounts',
  table: 'identity.accounts',
  as: 'u',
  key: [['id', 'uuid']],
  columns: ['id', 'email', 'shadow_of', 'role', 'token_version'],
};

export const identityChecks: Check[] = [
  {
    id: 'I05',
    rule: 'How an account came to be an operator is in the audit log',
    over: accounts,
    broken: `u.role = 'operator' and (
      select g.seq from platform.audit_log g
      where g.subject_id = u.id::text and (
        g.action = 'identity.operator_created'
        or (g.action = 'identity.account_changed' and position('"role":"operator"' in g.detail) > 0))
      limit 1) is null`,
  },
  {
    id: 'I06',
    rule: 'An account has a known role, and no two have one address',
    over: accounts,
    broken: `u.role not in ('user', 'merchant', 'operator') or u.token_version < 1
      or (select count(*) from identity.accounts other where lower(other.email) = lower(u.email)) > 1`,
  },
  {
    id: 'I09',
    rule: 'An account has a way in, an e-mail address or a DID; or it is the shadow of a key known elsewhere',
    over: accounts,
    broken: `u.email is null and u.shadow_of is null and (select d.id from identity.dids d where d.account_id = u.id limit 1) is null`,
  },
  ...didChecks,
];
