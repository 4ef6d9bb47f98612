// The arrows of ARCHITECTURE.md. `npm run check` also asserts that modules were read at all: with a TypeScript that it
// does not know, dependency-cruiser reads none and is content.
const contexts = 'identity|credits|payments|workflows|refunds';

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'a-context-is-entered-by-its-index',
      severity: 'error',
      from: { path: `^src/(${contexts})/` },
      to: { path: `^src/(${contexts})/`, pathNot: [`^src/$1/`, `^src/(${contexts})/index\\.ts$`] },
    },
    {
      name: 'composition-enters-by-the-index-too',
      severity: 'error',
      from: { path: '^src/(?!cli)[^/]+\\.ts$' },
      to: { path: `^src/(${contexts})/`, pathNot: `^src/(${contexts})/index\\.ts$` },
    },
    {
      name: 'the-command-line-enters-by-commands',
      severity: 'error',
      from: { path: '^src/cli\\.ts$' },
      to: { path: `^src/(${contexts})/`, pathNot: '/commands?\\.ts$' },
    },
    {
      name: 'platform-knows-no-context',
      severity: 'error',
      from: { path: '^src/platform/' },
      to: { path: `^src/(?!platform/)` },
    },
    {
      name: 'leaves-know-no-context',
      severity: 'error',
      from: { path: '^src/(identity|credits)/' },
      to: { path: `^src/(${contexts})/`, pathNot: '^src/$1/' },
    },
    {
      name: 'payments-looks-down-only',
      severity: 'error',
      from: { path: '^src/payments/' },
      to: { path: '^src/(workflows|refunds)/' },
    },
    {
      name: 'workflows-looks-down-only',
      severity: 'error',
      from: { path: '^src/workflows/' },
      to: { path: '^src/refunds/' },
    },
    {
      name: 'only-app-knows-all',
      severity: 'error',
      from: { path: '^src/(?!app|main|cli)' },
      to: { path: '^src/(app|main|cli)\\.ts$' },
    },
    {
      name: 'rails-write-nothing',
      severity: 'error',
      from: { path: '^src/payments/rails/' },
      to: { path: '(tables\\.ts$|^src/platform/database/|drizzle-orm)' },
    },
    {
      name: 'one-importer-of-omise',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/payments/rails/omise-client\\.ts$' },
      to: { path: 'node_modules/omise/' },
    },
    {
      name: 'src-never-imports-the-sandbox',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(sandbox|examples|test|bench)/' },
    },
    {
      name: 'stand-ins-share-no-code-with-src',
      severity: 'error',
      from: { path: '^sandbox/' },
      to: { path: '^src/', pathNot: '^src/(main|cli|platform/(config|log))\\.ts$' },
    },
    {
      name: 'examples-are-other-peoples-programs',
      severity: 'error',
      from: { path: '^examples/' },
      to: { path: '^(src|sandbox|test|bench)/' },
    },
    {
      name: 'no-dev-dependency-in-src',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown', 'unknown', 'undetermined'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    parser: 'swc',
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['node', 'import', 'default'],
      extensions: ['.ts', '.mjs', '.js'],
    },
  },
};
