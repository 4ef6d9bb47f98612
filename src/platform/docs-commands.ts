import { readFile, writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { print } from './commands.ts';
import { exampleEnvironment } from './config.ts';
import { errorsPage } from './http/problem.ts';

/** Files that are made from the source, and must not be older than it. */
const generated: Record<string, () => string> = {
  '.env.example': exampleEnvironment,
  'docs/errors.md': errorsPage,
};

/** `docs`: writes the generated files; with `--check` it tells which are stale, and fails. */
export function docsCommands(program: Command): void {
  program
    .command('docs')
    .description('write the files that are made from the source (.env.example, docs/errors.md)')
    .option('--check', 'only tell which of them are stale')
    .action(async ({ check }: { check?: boolean }) => {
      const stale: string[] = [];
      for (const [file, make] of Object.entries(generated)) {
        const wanted = make();
        const present = await readFile(file, 'utf8').catch(() => '');
        if (present === wanted) continue;
        stale.push(file);
        if (!check) await writeFile(file, wanted);
      }
      if (check && stale.length > 0) throw new Error(`stale: ${stale.join(', ')}. Run: npm run farebox -- docs`);
      print(stale.length === 0 ? 'everything is as the source says' : `written: ${stale.join(', ')}`);
    });
}
