import type { ReceivedRun } from './receive.ts';
import type { ReportMade } from './report.ts';

/** What one executor remembers. Bounded: it keeps the latest `keep` of each kind, so that a long demonstration stays small. */
export class Journal {
  readonly runs: ReceivedRun[] = [];
  readonly reports: ReportMade[] = [];
  /** Work done. Counts run ids, not calls. */
  effects = 0;
  #worked = new Set<string>();
  #times = new Map<string, number>();
  readonly #keep: number;

  constructor(keep: number) {
    this.#keep = keep;
  }

  received(run: ReceivedRun): void {
    if (run.refusal === null) {
      run.nth = (this.#times.get(run.runId) ?? 0) + 1;
      this.#times.set(run.runId, run.nth);
      forgetOldest(this.#times, this.#keep);
    }
    this.runs.push(run);
    if (this.runs.length > this.#keep) this.runs.shift();
  }

  reported(report: ReportMade): void {
    this.reports.push(report);
    if (this.reports.length > this.#keep) this.reports.shift();
  }

  /** The deduplication that Farebox asks of executors: a run id that was seen is not worked on again. */
  work(runId: string): void {
    if (this.#worked.has(runId)) return;
    this.#worked.add(runId);
    this.effects += 1;
    forgetOldest(this.#worked, this.#keep);
  }
}

/** Maps and sets keep the order of insertion. */
function forgetOldest(of: Map<string, unknown> | Set<string>, keep: number): void {
  for (const oldest of of.keys()) {
    if (of.size <= keep) return;
    of.delete(oldest);
  }
}
