import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { compileContracts, compiledFile } from '../../sandbox/chain/compile.ts';
import { describeOnChain, newWallet, payDollars, railOn, startChain, termsOn } from '../harness/chain.ts';
import { eventually } from '../harness/client.ts';

test('the committed contracts are what the committed sources compile to', async () => {
  expect(JSON.parse(await readFile(compiledFile, 'utf8'))).toEqual(compileContracts());
});

describeOnChain('the chain of the sandbox', () => {
  test('ends with the process that started it, even when that one is killed', async () => {
    const code = `const { startAnvil } = await import('./sandbox/chain/anvil.ts');
      console.log((await startAnvil({ chainId: 31337 })).url);`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [url] = await once(parent.stdout, 'data');
    const answers = () =>
      fetch(String(url).trim()).then(
        () => true,
        () => false,
      );
    expect(await answers()).toBe(true);
    parent.kill('SIGKILL');
    await eventually(answers, (isThere) => !isThere);
  });

  test('keeps its contracts and its payments when it is started again', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'farebox-chain-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const stateFile = join(folder, 'chain.json');
    const first = await startChain({ stateFile });
    const paid = await payDollars(await newWallet(first), first, 10n);
    const told = await railOn(first).verify(termsOn(first, 10n), paid);
    expect(told).toMatchObject({ outcome: 'matched', confirmations: 1 });
    await first.stop();

    const second = await startChain({ stateFile });
    onTestFinished(() => second.stop());
    expect(await railOn(second).verify(termsOn(second, 10n), paid)).toEqual({ ...told, confirmations: 2 });
    expect(await payDollars(await newWallet(second), second, 11n)).toMatch(/^0x/);
  });
});
