/** One turn of one subject. */
export interface Sample {
  operations: number;
  seconds: number;
  p50Ms?: number;
  p99Ms?: number;
  /** Processor time per operation, in microseconds, of the Node process that did the work. */
  cpuUs?: number;
  /** Flushes of the write-ahead log per operation. */
  fsyncs?: number;
  /** Runs that were started for certain, and those whose answer nobody waited for any more. */
  runs?: { started: number; unheard: number };
  /** What else there is to say of this turn. */
  notes?: Record<string, number>;
}

/** Something whose speed is taken. */
export interface Subject {
  name: string;
  about: string;
  /** Its runs are started in the grown database. */
  onGrown?: true;
  /** Works for so many seconds. Throws when anything but success came back. */
  run(seconds: number): Promise<Sample>;
}

export const perSecond = (sample: Sample): number => sample.operations / sample.seconds;

export type Results = Map<string, Sample[]>;

export interface RoundOptions {
  rounds: number;
  seconds: number;
  /** Not counted: caches fill, and Node compiles what is hot. */
  warmUp: boolean;
  beforeRound(): Promise<void>;
  tell(line: string): void;
  /** Hears of every turn, the warm-up's too. */
  onSample(subject: Subject, sample: Sample): void;
}

/** A B C, A B C, …: everybody's turn comes once in each round. */
export async function takeTurns(subjects: readonly Subject[], options: RoundOptions): Promise<Results> {
  const results: Results = new Map(subjects.map(({ name }) => [name, []]));
  for (let round = options.warmUp ? 0 : 1; round <= options.rounds; round += 1) {
    options.tell(round === 0 ? 'warm-up' : `round ${round} of ${options.rounds}`);
    await options.beforeRound();
    for (const subject of subjects) {
      const sample = await subject.run(round === 0 ? 1 : options.seconds).catch((fault) => {
        throw new Error(`${subject.name}: ${fault instanceof Error ? fault.message : fault}`, { cause: fault });
      });
      options.onSample(subject, sample);
      if (round > 0) results.get(subject.name)?.push(sample);
      options.tell(`  ${subject.name.padEnd(24)} ${lineOf(sample)}`);
    }
  }
  return results;
}

function lineOf(sample: Sample): string {
  const parts = [`${Math.round(perSecond(sample)).toString().padStart(7)}/s`];
  if (sample.p50Ms !== undefined) parts.push(`p50 ${sample.p50Ms.toFixed(1)} ms`);
  if (sample.p99Ms !== undefined) parts.push(`p99 ${sample.p99Ms.toFixed(1)} ms`);
  if (sample.cpuUs !== undefined) parts.push(`${Math.round(sample.cpuUs)} µs of Node`);
  if (sample.fsyncs !== undefined) parts.push(`${sample.fsyncs.toFixed(3)} fsync each`);
  for (const [name, value] of Object.entries(sample.notes ?? {})) parts.push(`${name} ${Math.round(value * 10) / 10}`);
  return parts.join('  ');
}
