import { randomBytes } from 'node:crypto';
import { asOperator, callApi, logIn } from './api.ts';
import { keepSecrets, type Secrets } from './home.ts';

/** The account of the storefront in `examples/`: a merchant, with an API key that can do what a shop does. */

interface ShopOptions {
  url: string;
  internalUrl: string;
  secrets: Secrets;
  onStep(step: string): void;
}

/** Makes it once. */
export async function ensureShop(options: ShopOptions): Promise<NonNullable<Secrets['shop']>> {
  const { url, secrets } = options;
  if (secrets.shop) return secrets.shop;
  options.onStep('a shop');
  const credentials = { email: `shop-${randomBytes(4).toString('hex')}@example.com`, password: random() };
  const { id } = await callApi<{ id: string }>(url, 'POST', '/v1/auth/register', credentials);
  const asked = { role: 'merchant', reason: 'The shop of the sandbox' };
  await (await asOperator(options))('PATCH', `/v1/admin/accounts/${id}`, asked);
  const token = await logIn(url, credentials);
  const wanted = { name: 'storefront', scopes: ['orders:write', 'read'] };
  const { key: apiKey } = await callApi<{ key: string }>(url, 'POST', '/v1/api-keys', wanted, token);
  secrets.shop = { ...credentials, apiKey, cookieKey: random() };
  keepSecrets(secrets);
  return secrets.shop;
}

const random = () => randomBytes(24).toString('base64url');
