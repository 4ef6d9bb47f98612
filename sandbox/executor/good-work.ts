import type { Answer, Behaviour } from './answer.ts';
import { wholeNumber } from './options.ts';
import type { AcceptedRun } from './receive.ts';

const SUMMARY_SENTENCES = 2;
const LONGEST_PAUSE_MS = 60 * 60 * 1000;

/** The output of every behaviour but `/summarize`: what came in. */
export const echoOf = (run: AcceptedRun) => ({ echo: run.data.input });

/** Executors that answer at once, and do what they are paid for. */
export const goodWork: Behaviour[] = [
  { path: '/echo', about: '200 with the input', answer: (run) => ({ json: echoOf(run) }) },
  {
    path: '/summarize',
    about: 'input {"text"}: 200 with {"summary", "words"}; 422 without a text',
    answer: (run) => summarize(run.data.input),
  },
  {
    path: '/slow',
    about: '200 after ?ms=1000',
    answer: (run) => ({ json: echoOf(run), delayMs: wholeNumber(run.query, 'ms', 1000, LONGEST_PAUSE_MS) }),
  },
];

function summarize(input: unknown): Answer {
  const text = typeof input === 'object' && input !== null && 'text' in input ? input.text : undefined;
  if (typeof text !== 'string' || text.trim() === '') return { status: 422, json: { error: 'input.text is missing' } };
  return { json: { summary: summaryOf(text), words: wordsOf(text).length } };
}

/** The sentences whose words come up most often, in their order. */
function summaryOf(text: string): string {
  const uses = new Map<string, number>();
  for (const word of wordsOf(text)) uses.set(word, (uses.get(word) ?? 0) + 1);
  const weight = (sentence: string) => {
    const words = wordsOf(sentence);
    return words.reduce((sum, word) => sum + (uses.get(word) ?? 0), 0) / Math.max(1, words.length);
  };
  return [...new Intl.Segmenter('en', { granularity: 'sentence' }).segment(text)]
    .map(({ segment, index }) => ({ sentence: segment.trim(), index }))
    .toSorted((a, b) => weight(b.sentence) - weight(a.sentence))
    .slice(0, SUMMARY_SENTENCES)
    .toSorted((a, b) => a.index - b.index)
    .map(({ sentence }) => sentence)
    .join(' ');
}

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}'’-]+/gu) ?? [];
