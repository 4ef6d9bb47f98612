import { once } from 'node:events';
import { ConfigFault } from '../src/platform/config.ts';
import { StartFault } from './postgres.ts';
import { type Sandbox, startSandbox } from './sandbox.ts';

/** `npm start`: Farebox on this machine alone, with everything it needs. */

const isTerminal = process.stdout.isTTY === true;
const bold = (text: string) => (isTerminal && !process.env['NO_COLOR'] ? `\x1b[1m${text}\x1b[22m` : text);

try {
  const sandbox = await startSandbox(showStep);
  if (isTerminal) process.stdout.write('\r\x1b[K');
  process.stdout.write(firstScreen(sandbox));
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  // npm hands a Ctrl-C on that the terminal has sent us, too: only one that comes later means "now".
  const asked = Date.now();
  for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => Date.now() - asked > 1_000 && process.exit(1));
  await sandbox.stop();
  process.exit(0);
} catch (fault) {
  if (isTerminal) process.stdout.write('\r\x1b[K');
  const isTold =
    fault instanceof StartFault ||
    fault instanceof ConfigFault ||
    (fault instanceof Error && fault.name === 'SchemaFault');
  process.stderr.write(
    `${isTold ? fault.message : fault instanceof Error ? (fault.stack ?? fault.message) : String(fault)}\n`,
  );
  process.exit(1);
}

function showStep(step: string): void {
  if (isTerminal) process.stdout.write(`\r\x1b[Kstarting ${step} …`);
}

/** What runs where, how to stop, and what to paste next. */
function firstScreen(sandbox: Sandbox): string {
  const { url, internalUrl, omiseUrl, executorUrl, shopUrl, chainUrl, operator, folders, catalogue } = sandbox;
  const { relayUrl, lightningUrl } = sandbox;
  const [starter] = catalogue.packages;
  const [summarize] = catalogue.services;
  const value = (name: string) => `sed -E 's/.*"${name}":"([^"]+)".*/\\1/'`;
  return `
${bold('Farebox is running.')} Stop it with Ctrl-C; the data stays.

  API          ${url}/v1          reference   ${url}/docs/
  internal     ${internalUrl}/v1/admin    reference   ${internalUrl}/docs/
  work list    ${internalUrl}/ops        (log in as the operator below)
  bank app     ${omiseUrl}/pay        (pays what the Omise stand-in is asked for)
  executor     ${executorUrl}
  shop         ${shopUrl}        (after \`npm run storefront\` in another terminal)
  chain        ${chainUrl ?? 'none: npm has no anvil for this machine'}
  wallet       ${lightningUrl}/pay        (pays Lightning invoices)
  zaps         ${lightningUrl}/.well-known/lnurlp/farebox
  relay        ${relayUrl}
  data         ${folders.join('\n               ')}
  operator     ${operator.email}  ${operator.password}

${bold('Paste this into another terminal')}, or let \`npm run tour\` do it:

  F=${url}; J='content-type: application/json'
  curl -s $F/v1/auth/register -H "$J" -d '{"email":"me@example.com","password":"a long enough phrase"}'
  A="authorization: Bearer $(curl -s $F/v1/auth/login -H "$J" \\
    -d '{"email":"me@example.com","password":"a long enough phrase"}' | ${value('access_token')})"
  curl -s $F/v1/purchases -H "$J" -H "$A" -H 'idempotency-key: purchase-1' \\
    -d '{"package_id":"${starter?.id}","method":{"type":"promptpay"}}'

  ${bold("Open the reply's status_url, pay in the bank app, then:")}

  curl -s $F/v1/credits/balance -H "$A"
  W=$(curl -s $F/v1/workflows -H "$J" -H "$A" -H 'idempotency-key: workflow-1' \\
    -d '{"service_id":"${summarize?.id}","name":"Mine"}' | ${value('id')})
  R=$(curl -s $F/v1/workflows/$W/runs -H "$J" -H "$A" -H 'idempotency-key: run-1' \\
    -d '{"input":{"text":"Paid before it runs. Never twice."}}' | sed -E 's/.*"id":"(run_[^"]+)".*/\\1/')
  curl -s $F/v1/runs/$R -H "$A"

`;
}
