import { join } from 'node:path';
import { buildShop } from './shop.ts';

/** `npm run storefront`: the shop, beside a Farebox. Settings come from the environment, or from what `npm start` has left. */

const home = process.env['FAREBOX_HOME'] ?? '.farebox';
try {
  process.loadEnvFile(join(home, 'storefront.env')); // what is set already stays
} catch {
  // no sandbox here: then everything is set from outside
}

const names = ['FAREBOX_URL', 'FAREBOX_API_KEY', 'SHOP_URL', 'SHOP_COOKIE_KEY'] as const;
const missing = names.filter((name) => !process.env[name]);
if (missing.length > 0) {
  process.stderr.write(
    `The shop does not know where its Farebox is: ${missing.join(', ')} not set.\n` +
      'Run `npm start` in another terminal first: it makes a shop and writes down its key. Or set them yourself; see examples/storefront/README.md.\n',
  );
  process.exit(2);
}
const setting = (name: (typeof names)[number]) => process.env[name] ?? '';

const shopUrl = new URL(setting('SHOP_URL'));
const app = buildShop({
  farebox: {
    url: setting('FAREBOX_URL'),
    apiKey: setting('FAREBOX_API_KEY'),
    ...(process.env['FAREBOX_PUBLIC_URL'] ? { publicUrl: process.env['FAREBOX_PUBLIC_URL'] } : {}),
  },
  url: shopUrl.origin,
  cookieKey: setting('SHOP_COOKIE_KEY'),
  ...(process.env['SHOP_CACHE_MS'] ? { cacheMs: Number(process.env['SHOP_CACHE_MS']) } : {}),
});

const host = process.env['SHOP_HOST'] ?? shopUrl.hostname;
const port = Number(process.env['SHOP_PORT'] ?? (shopUrl.port || 80));
try {
  await app.listen({ host, port });
  process.stdout.write(`\nThe shop is open at ${shopUrl.origin}. Close it with Ctrl-C.\n\n`);
} catch (fault) {
  process.stderr.write(
    `The shop cannot listen on ${host}:${port} (${(fault as NodeJS.ErrnoException).code}). Is one running already?\n` +
      'Another address: SHOP_URL=http://localhost:4000, for `npm start` and for the shop, as Farebox must know where it may lead back to.\n',
  );
  process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close());
