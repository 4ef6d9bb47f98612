import type { Behaviour } from './answer.ts';
import { cut, drip, flood, hang, lie, reset } from './faults.ts';
import { echoOf } from './good-work.ts';
import { BadOption, wholeNumber, yesOrNo } from './options.ts';

const LONGEST_PAUSE_MS = 60 * 60 * 1000;
const LARGEST_REPLY_BYTES = 256 * 1024 * 1024;

/** Executors that fail, lie, or go away. Where the work is done all the same, `about` says so: then only the reply is lost. */
export const badWork: Behaviour[] = [
  {
    path: '/hang',
    about: 'never answers; ?works=1 does the work first',
    answer: (run) => ({ fault: hang(), works: yesOrNo(run.query, 'works', false) }),
  },
  {
    path: '/reset',
    about: 'resets the connection; ?works=1 does the work first',
    answer: (run) => ({ fault: reset(), works: yesOrNo(run.query, 'works', false) }),
  },
  {
    path: '/cut',
    about: 'works, then destroys the socket in the middle of the reply, or after ?bytes=',
    answer: (run) => {
      const bytes = run.query.has('bytes') ? wholeNumber(run.query, 'bytes', 0, LARGEST_REPLY_BYTES) : undefined;
      return { json: echoOf(run), fault: cut(bytes) };
    },
  },
  {
    path: '/drip',
    about: 'works, then sends a blank each ?every_ms=200, ?bytes=600 times, before the reply',
    answer: (run) => {
      const everyMs = wholeNumber(run.query, 'every_ms', 200, LONGEST_PAUSE_MS);
      return {
        json: echoOf(run),
        fault: drip({ everyMs, bytes: wholeNumber(run.query, 'bytes', 600, LARGEST_REPLY_BYTES) }),
      };
    },
  },
  {
    path: '/refuse',
    about: '400: this input will never do',
    answer: () => ({ status: 400, json: { error: 'This executor does not take that input.' } }),
  },
  {
    path: '/status/:code',
    about: 'that status; ?retry_after= sets the header',
    answer: (run) => {
      const code = new URLSearchParams({ code: run.path.split('/')[2] ?? '' });
      const after = run.query.get('retry_after');
      const status = wholeNumber(code, 'code', 0, 599, 200);
      return { status, json: { status }, ...(after !== null && { headers: { 'retry-after': after } }) };
    },
  },
  {
    path: '/fail-times',
    about: '503 for the first ?n=1 dispatches of each run, then 200 with the input',
    answer: (run) => {
      if (run.nth > wholeNumber(run.query, 'n', 1, 1_000)) return { json: echoOf(run) };
      return { status: 503, json: { error: 'not now' } };
    },
  },
  {
    path: '/redirect',
    about: '307 to ?to= (or ?status=)',
    answer: (run) => {
      const to = run.query.get('to');
      if (to === null || /[^\x21-\x7e]/.test(to)) throw new BadOption('to must be a URL');
      return { status: wholeNumber(run.query, 'status', 307, 399, 300), headers: { location: to }, json: null };
    },
  },
  {
    path: '/huge',
    about: 'works, then sends ?bytes=2097152 of JSON; ?declared=1 with a Content-Length',
    answer: (run) => {
      const bytes = wholeNumber(run.query, 'bytes', 2 * 1024 * 1024, LARGEST_REPLY_BYTES, 2);
      return { fault: flood({ bytes, declared: yesOrNo(run.query, 'declared', false) }) };
    },
  },
  {
    path: '/not-json',
    about: 'works, then sends a page and calls it JSON (or ?type=)',
    answer: (run) => {
      const type = run.query.get('type') ?? 'application/json';
      if (/[^\x20-\x7e]/.test(type)) throw new BadOption('type must be a media type');
      return { text: '<html><h1>It worked!</h1></html>', headers: { 'content-type': type } };
    },
  },
  { path: '/empty', about: 'works, then sends 200 without a body', answer: () => ({ text: '' }) },
  { path: '/null', about: 'works, then sends null', answer: () => ({ json: null }) },
  {
    path: '/lying-length',
    about: 'works, then sends a Content-Length that is wrong by ?by=10 (negative: too short)',
    answer: (run) => ({ json: echoOf(run), fault: lie(wholeNumber(run.query, 'by', 10, LARGEST_REPLY_BYTES, -1_000)) }),
  },
  {
    path: '/die',
    about: 'calls onDie, so that a test may kill something, then works and answers 200',
    answer: async (run, setting) => {
      await setting.onDie(run);
      return { json: echoOf(run) };
    },
  },
];
