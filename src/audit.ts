import { creditsChecks } from './credits/index.ts';
import { identityChecks } from './identity/index.ts';
import { paymentsChecks } from './payments/index.ts';
import type { Check } from './platform/audit/check.ts';
import { platformChecks } from './platform/audit/own-checks.ts';
import { webhooksChecks } from './platform/webhooks/audit.ts';
import { refundsChecks } from './refunds/index.ts';
import { workflowsChecks } from './workflows/index.ts';

/** Everything that must hold, as each context says it. */
export const allChecks: Check[] = [
  ...creditsChecks,
  ...paymentsChecks,
  ...workflowsChecks,
  ...refundsChecks,
  ...identityChecks,
  ...platformChecks,
  ...webhooksChecks,
];
