import { parseArgs } from 'node:util';
import { behaviours } from './behaviours.ts';
import { startExecutor } from './server.ts';

const USAGE = `An executor to try Farebox with: it does the work of runs, well or badly, as the path says.

  node sandbox/executor/main.ts [--port 4100] [--host 127.0.0.1] [--secret whsec_…]
`;

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4100' },
    host: { type: 'string', default: '127.0.0.1' },
    secret: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  console.log(USAGE);
} else {
  const { secret, host } = values;
  const executor = await startExecutor({
    host,
    port: Number(values.port),
    ...(secret !== undefined && { secret }),
    onReceived: (run) => {
      const verdict = run.refusal ? `refused: ${run.refusal.reason}` : `signature ${run.signature}`;
      console.log(
        `${run.receivedAt.toISOString()}  ${run.path}  ${run.runId || '?'}  attempt ${run.attempt}  ${verdict}`,
      );
    },
  });
  const width = Math.max(...behaviours.map(({ path }) => path.length));
  console.log(USAGE);
  for (const { path, about } of behaviours) console.log(`  ${path.padEnd(width)}  ${about}`);
  console.log(`\nListening at ${executor.url}; signatures are ${secret === undefined ? 'NOT checked' : 'checked'}.`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void executor.close());
}
