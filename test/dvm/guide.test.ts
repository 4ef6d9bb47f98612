import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { settings } from '../../src/platform/settings.ts';

// REQ V9
test('the guides name every setting of Nostr and Lightning, every word and every mode that customers meet', () => {
  const [nostr, lightning, paying] = ['nostr', 'lightning', 'flexible-payment'].map((name) =>
    readFileSync(`docs/${name}.md`, 'utf8'),
  ) as [string, string, string];
  const ours = Object.keys(settings).filter((name) => /^(NOSTR|ZAP|NWC)_/.test(name));
  expect(ours.length).toBeGreaterThan(5);
  expect(ours.filter((name) => !(nostr + lightning).includes(`\`${name}\``))).toEqual([]);
  const said = readFileSync('src/workflows/dvm/speak.ts', 'utf8');
  const words = [...new Set([...said.matchAll(/status: '([a-z-]+)'/g)].map(([, word = '']) => word))];
  expect(words).toContain('payment-required');
  expect(words.filter((word) => !nostr.includes(word))).toEqual([]);
  for (const mode of ['upfront', 'after', 'flexible', 'milestones', 'accumulate', 'reject'])
    expect(paying).toContain(`\`${mode}\``);
  for (const step of ['9734', '9735', '/v1/receipts', 'tour -- dvm']) expect(nostr).toContain(step);
});
