/**
 * Accounts and workflows are numbered from 1, and their ids are made from the number: by us, and by pgbench, which knows
 * nothing but numbers. They look like uuids of version 7, as the product's own.
 */
const idFrom = (head: string) => ({
  of: (n: number) => `${head}${n.toString(16).padStart(12, '0')}`,
  /** The same as an SQL expression over a number. */
  sql: (n: string) => `('${head}' || lpad(to_hex(${n}::bigint), 12, '0'))::uuid`,
});

export const accountId = idFrom('01900000-0000-7000-8000-');
export const workflowId = idFrom('01900000-0000-7000-9000-');
