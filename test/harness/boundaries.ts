import { execFileSync } from 'node:child_process';

// Runs dependency-cruiser and makes sure that it has read anything: with a TypeScript it does not know it reads nothing
// and is content.

const MODULES_AT_LEAST = 80;

interface Cruise {
  summary: { error: number; totalCruised: number; violations: { rule: { name: string }; from: string; to: string }[] };
}

const roots = ['src', 'sandbox', 'examples'];
const output = execFileSync('depcruise', ['-c', '.dependency-cruiser.cjs', '--output-type', 'json', ...roots], {
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
  stdio: ['ignore', 'pipe', 'ignore'],
});
const { summary } = JSON.parse(output) as Cruise;
for (const { rule, from, to } of summary.violations) console.error(`${rule.name}: ${from} → ${to}`);
console.log(`${summary.totalCruised} modules, ${summary.violations.length} crossed boundaries`);
if (summary.error > 0 || summary.totalCruised < MODULES_AT_LEAST) process.exitCode = 1;
