import { findRunning, type Presence } from './home.ts';
import { StartFault } from './postgres.ts';
import { startSandbox } from './sandbox.ts';
import { tourCrypto } from './tour/crypto.ts';
import { tourDvm } from './tour/dvm.ts';
import { tourMainJob } from './tour/main-job.ts';
import { paint, TourFault } from './tour/steps.ts';

/** `npm run tour [-- NAME]`: by HTTP, step by step; exit code 0 when every step did what it should. */

const tours: Record<string, (presence: Presence) => Promise<void>> = {
  'main-job': tourMainJob,
  crypto: tourCrypto,
  dvm: tourDvm,
};

try {
  const name = process.argv[2] ?? 'main-job';
  const tour = tours[name];
  if (!tour) throw new TourFault(`There is no tour ${name}. There are: ${Object.keys(tours).join(', ')}`);
  const running = findRunning();
  const own = running ? undefined : await startSandbox((what) => console.log(paint(2, `starting ${what} …`)));
  const presence = running ?? own;
  try {
    if (presence) await tour(presence);
  } finally {
    await own?.stop();
  }
} catch (fault) {
  const isTold = fault instanceof TourFault || fault instanceof StartFault;
  console.error(`${paint(31, '✗')} ${isTold ? fault.message : fault instanceof Error ? fault.stack : String(fault)}`);
  process.exitCode = 1;
}
