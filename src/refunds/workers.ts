import type { Worker } from '../platform/delivery/worker.ts';
import { type DriveDeps, refundDriver } from './drive.ts';
import { sightingWorker } from './sightings.ts';

/** Everything that moves refunds on without being asked. */
export const refundsWorkers = (deps: DriveDeps): Worker[] => [refundDriver(deps), sightingWorker(deps)];
