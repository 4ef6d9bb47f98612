import { sql } from 'drizzle-orm';
import { bigint, customType, numeric, timestamp } from 'drizzle-orm/pg-core';

/** Column types that every context's tables share. */

export const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });

/** Transaction id that never wraps; read as text. */
export const xid8 = customType<{ data: string }>({ dataType: () => 'xid8' });

/** A moment, to the microsecond. */
export const moment = (name: string) => timestamp(name, { withTimezone: true, precision: 6 });

export const createdAt = () => moment('created_at').notNull().default(sql`now()`);

/** Credits or minor units. A default is written sql`0`: drizzle-kit cannot print a bigint. */
export const amount = (name: string) => bigint(name, { mode: 'bigint' });

/** Base units of a chain: a uint256 fits no bigint. Read as a decimal string. */
export const baseUnits = (name: string) => numeric(name, { precision: 78, scale: 0 });
