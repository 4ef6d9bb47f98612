import type { Db } from '../database/clients.ts';
import type { Metrics } from '../metrics.ts';
import { isHalted } from './kept.ts';

/**
 * Whether new money movements are refused, because the audit found that money is wrong. A replica knows it by heart and
 * looks at the database now and then, so that no request has to.
 */
export interface Halt {
  readonly isOn: boolean;
  look(): Promise<void>;
  stop(): void;
}

/** So late a replica may learn of a halt that another one has raised, or that an operator has cleared elsewhere. */
const LOOK_EVERY_MS = 2_000;

/** `isAllowed`: AUDIT_HALT. Without it there is never a halt, and nothing is looked at. */
export async function watchHalt(db: Db, metrics: Metrics, isAllowed: boolean): Promise<Halt> {
  let isOn = false;
  const look = async () => {
    if (!isAllowed) return;
    isOn = await isHalted(db);
    metrics.auditHalted.set(Number(isOn));
  };
  await look();
  // A database that is away answers nothing, and moves no money either.
  const timer = isAllowed ? setInterval(() => void look().catch(() => {}), LOOK_EVERY_MS).unref() : undefined;
  return {
    get isOn() {
      return isOn;
    },
    look,
    stop: () => clearInterval(timer),
  };
}
