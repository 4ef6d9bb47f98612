import { parseArgs } from 'node:util';
import { startOmise } from './server.ts';

const USAGE = `Runs the Omise stand-in alone.

  node sandbox/omise/main.ts --port 4100 --control-port 4101

  --host            address to listen on (127.0.0.1)
  --port            API, vault and pages (4100)
  --control-port    faults, clock, state (4101)
  --public-url      how others reach it, when that differs
  --public-key      (pkey_test_sandbox)
  --secret-key      (skey_test_sandbox)
  --merchant        name shown to the person who pays
  --webhook-uri     where events are delivered
  --webhook-secret  base64; twice while a secret is being rotated
  --seed            of faults with a probability (1)
`;

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '4100' },
    'control-port': { type: 'string', default: '4101' },
    'public-url': { type: 'string' },
    'public-key': { type: 'string', default: 'pkey_test_sandbox' },
    'secret-key': { type: 'string', default: 'skey_test_sandbox' },
    merchant: { type: 'string' },
    'webhook-uri': { type: 'string' },
    'webhook-secret': { type: 'string', multiple: true, default: [] },
    seed: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log(USAGE);
} else {
  await run();
}

async function run(): Promise<void> {
  const omise = await startOmise({
    host: values.host,
    port: Number(values.port),
    controlPort: Number(values['control-port']),
    publicKey: values['public-key'],
    secretKey: values['secret-key'],
    webhookSecrets: values['webhook-secret'],
    seed: Number(values.seed),
    ...(values.merchant && { merchant: values.merchant }),
    ...(values['webhook-uri'] && { webhookUri: values['webhook-uri'] }),
    ...(values['public-url'] && { publicUrl: values['public-url'] }),
  });
  console.log(`API and vault   ${omise.url}
Scan and pay    ${omise.url}/pay
Control         ${omise.controlUrl}/state
Public key      ${values['public-key']}
Secret key      ${values['secret-key']}
Webhooks to     ${values['webhook-uri'] ?? '(nowhere)'}

Ctrl-C stops it.`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void omise.close());
}
