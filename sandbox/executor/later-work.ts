import type { Answer, Behaviour, Setting } from './answer.ts';
import { echoOf } from './good-work.ts';
import { wholeNumber } from './options.ts';
import type { AcceptedRun } from './receive.ts';
import type { Report } from './report.ts';

const MOST_REPORTS = 1_000;
const LONGEST_PAUSE_MS = 60 * 60 * 1000;

/** Executors that answer 202 and report through the callbacks. A repeated dispatch is reported on again, with its own token. */
export const laterWork: Behaviour[] = [
  {
    path: '/async',
    about: '202, then ?progress=3 and ?parts=2 in turn, then complete; ?delay_ms= before each',
    answer: (run, setting) => after202(run, setting, { to: 'complete', body: { output: echoOf(run) } }),
  },
  {
    path: '/async-fail',
    about: '202, then ?progress=0 and ?parts=0 in turn, then fail with ?code=executor_failed',
    answer: (run, setting) => {
      const code = run.query.get('code') ?? 'executor_failed';
      return after202(run, setting, { to: 'fail', body: { code, message: 'The executor could not do it.' } });
    },
  },
  {
    path: '/async-silent',
    about: '202, then ?progress=0 and ?parts=0 in turn, then nothing: it died',
    answer: (run, setting) => after202(run, setting, null),
  },
  {
    path: '/milestones',
    about:
      '202, then the part that was paid last, and complete after the last one; ?delay_ms= before each, ?ahead=0 parts more',
    answer: (run, setting) => partByPart(run, setting),
  },
  {
    path: '/async-late',
    about: '202, then complete after ?delay_ms=1000',
    answer: (run) => ({
      everyMs: wholeNumber(run.query, 'delay_ms', 1000, LONGEST_PAUSE_MS),
      json: { accepted: true },
      reports: [{ to: 'complete', body: { output: echoOf(run) } }],
    }),
  },
];

function after202(run: AcceptedRun, setting: Setting, last: Report | null): Answer {
  const succeeds = last?.to === 'complete';
  const steps = wholeNumber(run.query, 'progress', succeeds ? 3 : 0, MOST_REPORTS);
  const parts = wholeNumber(run.query, 'parts', succeeds ? 2 : 0, MOST_REPORTS);
  const everyMs = wholeNumber(run.query, 'delay_ms', setting.callbackDelayMs, LONGEST_PAUSE_MS);
  const reports = onTheWay(steps, parts);
  return { everyMs, json: { accepted: true }, reports: last ? [...reports, last] : reports };
}

/** Progress and parts in turn; 100 % is left to the completion. */
function onTheWay(steps: number, parts: number): Report[] {
  return Array.from({ length: Math.max(steps, parts) }, (_, index) => index + 1).flatMap((n) => {
    const reports: Report[] = [];
    const percent = Math.floor((100 * n) / (steps + 1));
    if (n <= steps) reports.push({ to: 'progress', body: { percent, message: `step ${n} of ${steps}` } });
    if (n <= parts) reports.push({ to: 'parts', body: { part: n, content: { text: `part ${n} of ${parts}` } } });
    return reports;
  });
}

/** What is paid for is delivered. `ahead`: more than that, as an executor does whose policy lets it go on. */
function partByPart(run: AcceptedRun, setting: Setting): Answer {
  const { paid, of } = run.data.parts ?? { paid: 1, of: 1 };
  const everyMs = wholeNumber(run.query, 'delay_ms', setting.callbackDelayMs, LONGEST_PAUSE_MS);
  const last = Math.min(of, paid + wholeNumber(run.query, 'ahead', 0, MOST_REPORTS));
  const reports = Array.from({ length: last - paid + 1 }, (_, index): Report => {
    const part = paid + index;
    return { to: 'parts', body: { part, content: { text: `part ${part} of ${of}` } } };
  });
  const done: Report[] = last === of ? [{ to: 'complete', body: { output: echoOf(run) } }] : [];
  return { everyMs, json: { accepted: true }, reports: [...reports, ...done] };
}
