import type { GroupCommitter, GroupCommitterOptions, Order } from '../../src/platform/database/group-committer.ts';

/** In place of the product's: every order at once, in a transaction of its own; the pool is the only queue. */
export const createGroupCommitter = <O extends Order, Answer>(
  options: GroupCommitterOptions<O, Answer>,
): GroupCommitter<O, Answer> => ({
  commit: (order) => options.one(order),
  waiting: () => 0,
});
