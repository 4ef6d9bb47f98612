import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startPostgres, temporaryHome } from '../../sandbox/postgres.ts';
import { start } from '../../src/main.ts';
import { exampleEnvironment, readConfig, settingsTable } from '../../src/platform/config.ts';
import { errorsPage } from '../../src/platform/http/problem.ts';
import { createLog } from '../../src/platform/log.ts';
import { makeTemplate, PASSWORDS, TEMPLATE } from './template.ts';

// `npm run docs` writes the documents that are made from the source; with --check it tells which are stale, and fails.

const isCheck = process.argv.includes('--check');
const wanted = new Map<string, string>([
  ['.env.example', exampleEnvironment()],
  ['docs/errors.md', errorsPage()],
  ['docs/requirements.md', requirementsPage()],
  ['README.md', withSettings(readFileSync('README.md', 'utf8'))],
]);
for (const [file, text] of await openApiDocuments()) wanted.set(file, text);

const stale = [...wanted].filter(([file, text]) => read(file) !== text);
for (const [file, text] of stale) if (!isCheck) writeFileSync(file, text);
const names = stale.map(([file]) => file).join(', ');
if (stale.length === 0) console.log(`${wanted.size} documents are as the source says`);
else console.log(isCheck ? `stale: ${names}. Run: npm run docs` : `written: ${names}`);
if (isCheck && stale.length > 0) process.exitCode = 1;

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** The documents of both listeners, as the running server gives them. */
async function openApiDocuments(): Promise<[string, string][]> {
  const home = temporaryHome();
  const server = await startPostgres({ home, settings: { fsync: 'off' } });
  try {
    await makeTemplate(server.url);
    const at = new URL(server.url(TEMPLATE));
    Object.assign(at, { username: 'farebox_app', password: PASSWORDS.app });
    const config = readConfig({
      PUBLIC_URL: 'https://pay.example.com',
      HOST: '127.0.0.1',
      PORT: '0',
      INTERNAL_PORT: '0',
      DATABASE_URL: at.href,
      ENCRYPTION_KEYS: `k1:${Buffer.alloc(32).toString('base64')}`,
      OMISE_SECRET_KEY: 'skey_test_0',
      OMISE_PUBLIC_KEY: 'pkey_test_0',
      OMISE_WEBHOOK_SECRETS: Buffer.alloc(32).toString('base64'),
      OMISE_URL: 'http://127.0.0.1:9', // nobody is there, and nobody is needed
      OMISE_DEADLINE_MS: '100',
      DRAIN_GRACE_MS: '0',
      WORKERS: 'off',
    });
    const farebox = await start(config, createLog('silent'));
    const document = async (port: number) => {
      const reply = await fetch(`http://127.0.0.1:${port}/openapi.json`);
      return `${JSON.stringify(await reply.json(), null, 2)}\n`;
    };
    const documents: [string, string][] = [
      ['docs/openapi.json', await document(farebox.publicPort)],
      ['docs/openapi-internal.json', await document(farebox.internalPort)],
    ];
    await farebox.stop();
    return documents;
  } finally {
    await server.stop('immediate');
    await rm(home, { recursive: true, force: true });
  }
}

/** The table between the two markers of the README. */
function withSettings(readme: string): string {
  const rows = settingsTable().map(
    ({ name, required, secret, example, description }) =>
      `| \`${name}\` | ${required ? 'yes' : ''} | ${secret ? 'yes' : ''} | ${description} | \`${example}\` |`,
  );
  const table = ['| setting | required | secret | meaning | example |', '|---|---|---|---|---|', ...rows].join('\n');
  const [before, , after] = readme.split(/(?<=<!-- settings -->\n)([\s\S]*)(?=<!-- \/settings -->)/);
  if (before === undefined || after === undefined) throw new Error('README.md has no place for the settings');
  return `${before}${table}\n${after}`;
}

/** Fills the last column of docs/requirements.md with the tests that say `// REQ id`, and the features tagged `@id`. */
function requirementsPage(): string {
  const tests = testsById();
  return read('docs/requirements.md')
    .split('\n')
    .map((line) => {
      const [, id, text] = /^\| (E\d\.\d|[OPVX]\d+) \| ([^|]*) \|/.exec(line) ?? [];
      if (!id) return line;
      const links = [...(tests.get(id) ?? [])]
        .sort()
        .map((file) => `[${file.replace(/^(test|features)\/|\.(test\.ts|feature)$/g, '')}](../${file})`);
      return `| ${id} | ${text} | ${links.join(', ')} |`;
    })
    .join('\n');
}

function testsById(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  const add = (file: string, ids: string) => {
    for (const id of ids.match(/[EPOXV]\d+[a-z]?(\.\d+)?/g) ?? [])
      found.set(id, (found.get(id) ?? new Set()).add(file));
  };
  const features = readdirSync('features', { recursive: true, encoding: 'utf8' });
  for (const name of features.filter((file) => file.endsWith('.feature'))) {
    const file = join('features', name);
    add(file, 'P11'); // that they are features, and run
    for (const [tags] of readFileSync(file, 'utf8').matchAll(/^\s*@.+$/gm)) add(file, tags);
  }
  const files = readdirSync('test', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.test.ts'));
  for (const name of files) {
    const file = join('test', name);
    for (const [, ids = ''] of readFileSync(file, 'utf8').matchAll(/^\s*\/\/ REQ (.+)$/gm)) add(file, ids);
  }
  return found;
}
