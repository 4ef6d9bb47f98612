import { creditsFigures } from './credits/index.ts';
import { differenceFigures, type PaymentsDeps, paidFigures, paymentsPanels } from './payments/index.ts';
import type { Figures, Panel } from './platform/ops/panel.ts';
import { webhooksPanel } from './platform/webhooks/ops.ts';
import type { WebhooksDeps } from './platform/webhooks/routes.ts';
import { type RefundsDeps, refundsFigures, refundsPanels } from './refunds/index.ts';

interface Contexts {
  payments: PaymentsDeps & { currency: string };
  refunds: RefundsDeps;
  webhooks: WebhooksDeps;
}

/** Everything that may wait for an operator, the most dangerous first, as each context says it. */
export const allPanels = ({ payments, refunds, webhooks }: Contexts): Panel[] => [
  ...refundsPanels(refunds),
  ...paymentsPanels(payments),
  webhooksPanel(webhooks),
];

/** The day in numbers: what came in, what was done with it, what went back. */
export const allFigures = ({ payments, refunds }: Contexts): Figures[] => [
  paidFigures(payments),
  creditsFigures(payments.db),
  refundsFigures(refunds),
  differenceFigures(payments),
];
