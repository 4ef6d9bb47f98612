import type { Worker } from '../delivery/worker.ts';
import { fanOut } from './fan-out.ts';
import { webhookReaper } from './retention.ts';
import type { WebhooksDeps } from './routes.ts';
import { sender } from './send.ts';

/** Events become deliveries, deliveries become calls, and all of it is forgotten one day. */
export const webhooksWorkers = (deps: WebhooksDeps): Worker[] => [fanOut(deps), sender(deps), webhookReaper(deps)];
