import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { Problem } from './problem.ts';

/** Lists: newest first, by keyset. The cursor is the last row's id, bound to its list and account by a MAC. */

const MAC_BYTES = 8;

export const pageQuery = {
  limit: z
    .string()
    .regex(/^\d{1,3}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(1, 'must be at least 1').max(100, 'must be at most 100'))
    .default(20)
    .describe('1 to 100'),
  starting_after: z.string().max(200).optional().describe('`next_cursor` of the previous page'),
};
export const PageQuery = z.strictObject(pageQuery);

export const listOf = <T extends z.ZodType>(item: T) =>
  z.object({
    object: z.literal('list'),
    data: z.array(item),
    has_more: z.boolean(),
    next_cursor: z.string().nullable(),
  });

export interface Page {
  limit: number;
  starting_after?: string | undefined;
}

export interface Cursors {
  /** Position that a cursor names, or null for the first page. A cursor that is not ours is a 400. */
  read(list: string, owner: string, page: Page): string | null;
  /** Cuts the one row too many that tells whether there is more. `positionOf` must be a string without spaces. */
  page<Row, Item>(
    list: string,
    owner: string,
    page: Page,
    rows: Row[],
    positionOf: (row: Row) => string,
    render: (row: Row) => Item,
  ): { object: 'list'; data: Item[]; has_more: boolean; next_cursor: string | null };
}

export function createCursors(secret: Buffer): Cursors {
  const mac = (list: string, owner: string, position: string) =>
    createHmac('sha256', secret).update(`${list}\n${owner}\n${position}`).digest().subarray(0, MAC_BYTES);
  const write = (list: string, owner: string, position: string) =>
    Buffer.concat([mac(list, owner, position), Buffer.from(position)]).toString('base64url');
  return {
    read: (list, owner, { starting_after }) => {
      if (starting_after === undefined) return null;
      const bytes = Buffer.from(starting_after, 'base64url');
      const position = bytes.subarray(MAC_BYTES).toString('utf8');
      const isOurs =
        bytes.length > MAC_BYTES && timingSafeEqual(bytes.subarray(0, MAC_BYTES), mac(list, owner, position));
      if (!isOurs || write(list, owner, position) !== starting_after) throw new Problem('invalid_cursor');
      return position;
    },
    page: (list, owner, { limit }, rows, positionOf, render) => {
      const shown = rows.slice(0, limit);
      const last = shown.at(-1);
      const hasMore = rows.length > limit && last !== undefined;
      return {
        object: 'list',
        data: shown.map(render),
        has_more: hasMore,
        next_cursor: hasMore ? write(list, owner, positionOf(last)) : null,
      };
    },
  };
}
