import { readFileSync } from 'node:fs';

/**
 * What runs in browsers: plain JavaScript (`browser/*.js`), read once, sent inside its page as it stands and allowed by its
 * hash. The files of a page share one scope, in this order; the page must work without them.
 */
const scriptOf = (...names: string[]): string =>
  names.map((name) => readFileSync(new URL(`browser/${name}.js`, import.meta.url), 'utf8')).join('\n');

export const liveScript = scriptOf('left', 'live');
export const orderScript = scriptOf('left', 'wallet', 'order');
