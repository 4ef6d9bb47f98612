/**
 * What must hold in the books, as each context says it (`src/<context>/audit.ts`). An id is a letter of the part and a
 * number, and is never given to another rule: L ledger, P payments, W workflows, R refunds, I identity and keys, A audit log,
 * D database, E events on their way out.
 */
export interface Check {
  id: string;
  /** What must hold, as a sentence for people. */
  rule: string;
  /** A table whose rows are looked at one by one, or the name of what one query looks at as a whole. */
  over: Walk | string;
  /**
   * SQL. Of a walk: true for a row that breaks the rule; it sees the row by the walk's alias, and null counts as true.
   * Otherwise: a query of the `key`s, as text, of what breaks it.
   */
  broken: string;
  /** Somebody's money may be wrong: with AUDIT_HALT nothing new is started. */
  money?: true;
  /**
   * `live`: it is about work that is overdue, which a restored database would always have. `snapshot`: it must see
   * everything at one moment, longer than a live database bears.
   */
  only?: 'live' | 'snapshot';
}

/**
 * A table that is read in the order of its key, a window of rows at a time: a database of any size with the same memory,
 * and no snapshot that lives longer than one window. Whatever a condition looks up beside the row it finds by an index,
 * in the same statement: what was committed together is seen together, however busy the database is. Such a look-up is
 * written as a scalar subquery, which the planner cannot turn into a scan of everything.
 */
export interface Walk {
  /** For people, plural. */
  name: string;
  table: string;
  /** What the conditions call a row of it. */
  as: string;
  /** The primary key. */
  key: [column: string, type: string][];
  /** Those that the conditions see, where the auditor may not see all. */
  columns?: string[];
  /** Which rows, where it is not all: a condition that an index serves. */
  where?: string;
  /** Joined to each row, at most one row each. */
  join?: string;
  /** Rows of the first window, where a row is more work than usual. */
  firstWindow?: number;
}

/**
 * A query for `broken`: which of these tables can be changed behind our back, because a trigger is missing or somebody
 * beside the owner has the right.
 */
export const changeable = (tables: string[], rights = ['UPDATE', 'DELETE', 'TRUNCATE']): string => `
  select t::text || ': ' || why as key
  from unnest('{${tables.join(',')}}'::regclass[]) t
  join pg_catalog.pg_class c on c.oid = t,
  lateral (
    select privilege_type || ' is granted to ' || coalesce(nullif(grantee, 0)::regrole::text, 'everybody')
    from aclexplode(c.relacl) where grantee <> c.relowner and privilege_type in (${rights.map((right) => `'${right}'`).join(', ')})
    union all
    select 'its trigger against ' || what || ' is missing'
    from (values ('update and delete', 27), ('truncate', 34)) as wanted (what, bits)
    where not exists (
      select from pg_catalog.pg_trigger g
      where g.tgrelid = t and g.tgenabled in ('O', 'A') and g.tgtype & bits = bits and g.tgqual is null
        and g.tgfoid = 'platform.refuse_change()'::regprocedure)
  ) as found (why)`;
