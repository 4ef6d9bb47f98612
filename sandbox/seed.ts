import { asOperator } from './api.ts';
import type { Secrets } from './home.ts';

/** The demo's catalogue, made through the operator's API as an operator would. Harmless to repeat. */

const packages = [
  { name: 'Starter', description: 'To try things out', credits: 100, price: 10_000 },
  { name: 'Team', description: 'For a small team', credits: 550, price: 50_000 },
  { name: 'Studio', description: 'For daily use', credits: 2_400, price: 200_000 },
];
/** Of the same in Lightning, millisatoshi. */
const msats: Record<string, string> = { Starter: '4500000', Team: '22500000', Studio: '90000000' };
/** Of the same in test dollars, base units. */
const dollars: Record<string, string> = { Starter: '3000000', Team: '15000000', Studio: '60000000' };

/** The first one takes jobs over Nostr, too (NIP-90), at a thousand millisatoshi a credit. */
const overNostr = {
  nostr_kind: 5600,
  payment: { rails: [{ rail: 'credits' }, { rail: 'lightning', price_per_credit: 1000 }] },
};

const services = [
  {
    path: '/summarize',
    name: 'Summarize a text',
    description: 'Answers at once.',
    credit_cost: 5,
    input_schema: { type: 'object', required: ['text'], properties: { text: { type: 'string', minLength: 1 } } },
    ...overNostr,
  },
  {
    path: '/async?progress=3&parts=2&delay_ms=300',
    name: 'Write a report',
    description: 'Takes a while, and reports progress and parts.',
    credit_cost: 40,
    input_schema: { type: 'object', properties: { topic: { type: 'string' } } },
  },
];

interface Listed {
  id: string;
  name: string;
  executor?: { endpoint: string };
}

export interface Catalogue {
  packages: Listed[];
  services: Listed[];
}

export interface SeedOptions {
  internalUrl: string;
  url: string;
  executorUrl: string;
  /** CAIP-19 of the test dollar, where there is a chain. */
  dollar: string | undefined;
  secrets: Secrets;
  /** Told of what is being done. */
  onStep(step: string): void;
}

/** Makes what is missing, and leads the demo services to where the executor is this time. */
export async function seed(options: SeedOptions): Promise<Catalogue> {
  const { secrets, executorUrl, dollar } = options;
  const call = await asOperator(options);
  const havePackages = await call<{ data: Listed[] }>('GET', '/v1/admin/packages?limit=100');
  const haveServices = await call<{ data: Listed[] }>('GET', '/v1/admin/services?limit=100');
  const made: Catalogue = { packages: [], services: [] };
  for (const one of packages) {
    const found = havePackages.data.find(({ name }) => name === one.name);
    if (!found) options.onStep(`package ${one.name}`);
    const { id } = found ?? (await call<Listed>('POST', '/v1/admin/packages', one));
    made.packages.push({ id, name: one.name });
    const prices = dollar === undefined ? [] : [{ asset: dollar, amount: dollars[one.name] }];
    await call('PUT', `/v1/admin/packages/${id}/crypto-prices`, { prices });
    await call('PUT', `/v1/admin/packages/${id}/lightning-price`, { amount_msat: msats[one.name] });
  }
  for (const { path, ...terms } of services) {
    const endpoint = executorUrl + path;
    const found = haveServices.data.find(({ name }) => name === terms.name);
    if (found && found.executor?.endpoint !== endpoint)
      await call('PATCH', `/v1/admin/services/${found.id}`, { executor: { endpoint } });
    if (found) {
      made.services.push(found);
      continue;
    }
    options.onStep(`service ${terms.name}`);
    const service = await call<Listed & { signing_secret: string }>('POST', '/v1/admin/services', {
      ...terms,
      executor: { endpoint },
    });
    secrets.serviceSecrets[path.split('?', 1)[0] ?? path] = service.signing_secret;
    made.services.push(service);
  }
  return made;
}
