import { type ConvergeDeps, convergeAll } from '../purchases/converge.ts';
import type { Actor, Purchase } from '../purchases/history.ts';
import { lookAtInvoices, type WatchDeps } from './watch.ts';

/** Everything that may have paid a purchase, for an operator who wants to know now. 503 when it cannot be asked. */
export const lookAgain = (deps: ConvergeDeps & WatchDeps, { id, method }: Purchase, actor: Actor): Promise<void> =>
  method === 'lightning' ? lookAtInvoices(deps, id, actor) : convergeAll(deps, id, actor);
