import { randomUUID } from 'node:crypto';
import type { Presence } from '../home.ts';
import { call, type Json, show, TourFault, until } from './steps.ts';

/** The whole main job: registering, buying credits, a paid run. */
export async function tourMainJob({ url, omiseUrl, omiseControlUrl }: Presence): Promise<void> {
  const email = `tour-${Date.now()}@example.com`;
  const password = `tour ${randomUUID()}`;
  const account = await call({
    method: 'POST',
    url: `${url}/v1/auth/register`,
    body: { email, password },
    status: 201,
  });
  show('A customer registers', 'POST /v1/auth/register', { account: account.id, 'e-mail': account.email });

  const session = await call({ method: 'POST', url: `${url}/v1/auth/login`, body: { email, password }, status: 200 });
  const auth = { authorization: `Bearer ${session.access_token}` };
  const keyed = (key: string = randomUUID()) => ({ ...auth, 'idempotency-key': key });
  const get = (path: string) => call({ method: 'GET', url: url + path, headers: auth, status: 200 });
  show('… and logs in', 'POST /v1/auth/login', {
    token: `${session.access_token.slice(0, 24)}…`,
    'valid for': `${session.expires_in} s`,
  });

  const services = (await get('/v1/services')).data as Json[];
  const report = services.find(({ name }) => name === 'Write a report');
  if (!report) throw new TourFault('the demo catalogue is not there');
  const workflow = await call({
    method: 'POST',
    url: `${url}/v1/workflows`,
    headers: keyed(),
    body: { service_id: report.id, name: 'Weekly report', input_defaults: { topic: 'sales' } },
    status: 201,
  });
  show('A workflow from the catalogue', 'POST /v1/workflows', {
    workflow: workflow.id,
    cost: `${workflow.credit_cost} credits a run`,
  });

  const runUrl = `${url}/v1/workflows/${workflow.id}/runs`;
  const runKey = randomUUID();
  const refusal = await call({ method: 'POST', url: runUrl, headers: keyed(runKey), body: {}, status: 402 });
  const [offer] = refusal.pay_with;
  show('No credits: refused, and told how to pay', `POST /v1/workflows/${workflow.id.slice(0, 9)}…/runs → 402`, {
    shortfall: `${refusal.shortfall} credits`,
    'pay with': `${offer.name}: ${offer.credits} credits for ${offer.price / 100} ${offer.currency}`,
  });

  const purchase = await call({
    method: 'POST',
    url: `${url}/v1/purchases`,
    headers: keyed(),
    body: { package_id: offer.package_id, method: { type: 'promptpay' } },
    status: 201,
  });
  const qr = await fetch(purchase.qr_url);
  show('A package, by PromptPay', 'POST /v1/purchases', {
    purchase: `${purchase.id} (${purchase.status})`,
    'QR code': `${qr.headers.get('content-type')}, ${(await qr.arrayBuffer()).byteLength} bytes`,
    page: purchase.status_url,
  });

  const charges = await call({ method: 'GET', url: `${omiseControlUrl}/charges`, status: 200 });
  const charge = charges.charges.find((one: Json) => one.metadata?.purchase_id === purchase.id);
  await call({ method: 'POST', url: `${omiseControlUrl}/charges/${charge.id}/pay`, body: {}, status: 200 });
  const paid = await until(
    () => get(`/v1/purchases/${purchase.id}`),
    ({ status }) => status === 'completed',
    'the credit',
  );
  show(
    'The customer scans and pays; Omise sends a signed webhook',
    `Omise → POST /v1/webhooks/omise, then we read ${charge.id} back`,
    {
      purchase: paid.status,
      balance: `${(await get('/v1/credits/balance')).available} credits`,
    },
  );

  const started = await call({ method: 'POST', url: runUrl, headers: keyed(runKey), body: {}, status: 202 });
  show(
    'The refused request again, same key: deducted, recorded, queued at once',
    `POST /v1/workflows/${workflow.id.slice(0, 9)}…/runs → 202`,
    {
      run: `${started.run.id} (${started.run.state})`,
      balance: `${started.balance.available} credits`,
    },
  );

  const again = await call({ method: 'POST', url: runUrl, headers: keyed(runKey), body: {}, status: 202 });
  if (again.run.id !== started.run.id) throw new TourFault('the same key led to another run');
  show('… and once more: the same run, nothing deducted twice', 'same key → the stored reply', {
    run: again.run.id,
    balance: `${(await get('/v1/credits/balance')).available} credits`,
  });

  const told = await follow(`${url}/v1/runs/${started.run.id}/events`, auth);
  show('The executor works; its life as it happens', `GET /v1/runs/${started.run.id.slice(0, 10)}…/events`, {
    events: told.join(' → '),
  });

  const done = await get(`/v1/runs/${started.run.id}`);
  if (done.state !== 'succeeded') throw new TourFault(`the run has ${done.state}`);
  const parts = await get(`/v1/runs/${started.run.id}/parts`);
  show('The result is on the run', `GET /v1/runs/${started.run.id.slice(0, 10)}…`, {
    state: `${done.state} after ${done.attempt} attempt`,
    parts: parts.data.length,
    output: JSON.stringify(done.output).slice(0, 60),
  });

  const transfers = (await get('/v1/credits/transfers')).data as Json[];
  show(
    "Every credit's way",
    'GET /v1/credits/transfers',
    Object.fromEntries(
      transfers.map((t) => [
        `#${t.seq} ${t.kind}`,
        `${t.amount} credits, ${t.debit} → ${t.credit}, then ${t.available_after} available`,
      ]),
    ),
  );

  console.log(
    `Look further\n  the API         ${url}/docs/\n  this purchase   ${purchase.status_url}\n  the bank app    ${omiseUrl}/pay`,
  );
}

/** Reads an event stream to its end; the kinds of events, in order. */
async function follow(url: string, headers: Record<string, string>): Promise<string[]> {
  const reply = await fetch(url, { headers, signal: AbortSignal.timeout(30_000) });
  const text = await reply.text();
  return [...text.matchAll(/^event: workflows\.run_(\w+)$/gm)].map(([, kind = '']) => kind);
}
