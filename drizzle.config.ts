import { defineConfig } from 'drizzle-kit';

// One journal per context: `CONTEXT=credits npx drizzle-kit generate --name what_changes`, then review the SQL by hand
// (checks, partial indexes, functions). Our own runner applies it (src/platform/database/migrate.ts).
const context = process.env['CONTEXT'] ?? 'platform';
const folder = context === 'platform' ? 'platform/database' : context;

export default defineConfig({
  dialect: 'postgresql',
  schema: `./src/${folder}/**/tables.ts`,
  out: `./migrations/${context}`,
  schemaFilter: [context],
});
