import { Problem } from '../platform/http/problem.ts';

/** Why an order cannot be. */

export const nothingLeft = (detail: string): Problem => new Problem('not_refundable', detail);

/** `refundable` is in the unit of the order: credits as a number, base units as a string. */
export const tooLarge = (refundable: number | string): Problem =>
  new Problem('refund_too_large', `At most ${refundable} can be given back.`, { extra: { refundable } });

export const wrongTarget = (detail: string): Problem => new Problem('refund_target_unavailable', detail);
