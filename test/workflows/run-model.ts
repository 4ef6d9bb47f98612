/** A run on a page of plain code: what docs and API say of it, and nothing of how it is done. */

export const MAX_ATTEMPTS = 3;

export type Answer = 'ok' | 'accepted' | 'unavailable' | 'refused';
export type Step =
  | { do: 'dispatch'; answer: Answer }
  | { do: 'lapse' | 'pass deadline' | 'expire' | 'cancel' | 'start again' }
  /** By whoever was called `ago` attempts before the latest. */
  | { do: 'progress'; ago: number }
  | { do: 'part'; ago: number; number: number; content: number }
  | { do: 'complete'; ago: number; output: number }
  | { do: 'fail'; ago: number; code: 'a' | 'b'; retryable: boolean };

type State = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

export class RunModel {
  state: State = 'queued';
  attempt = 0;
  isReturned = false;
  output: unknown = null;
  failure: string | null = null;
  readonly parts = new Map<number, number>();
  /** The lease, or the time until the next report, is over. */
  #isLapsed = false;
  #isLate = false;

  /** What a step is answered with: the status and, of a refusal, its code. Null: it has no answer. */
  apply(step: Step): string | null {
    switch (step.do) {
      case 'dispatch':
        return this.#dispatch(step.answer);
      case 'lapse':
        this.#isLapsed = this.state === 'running';
        return null;
      case 'pass deadline':
        this.#isLate = true;
        return null;
      case 'expire':
        return this.#expire();
      case 'cancel':
        return this.#cancel();
      case 'start again':
        return '202';
      default:
        return this.#report(step);
    }
  }

  get #isOpen(): boolean {
    return this.state === 'queued' || this.state === 'running';
  }

  #dispatch(answer: Answer): null {
    const isDue =
      this.state === 'queued' || (this.state === 'running' && this.#isLapsed && this.attempt < MAX_ATTEMPTS);
    if (!isDue || this.#isLate) return null;
    this.attempt += 1;
    this.#isLapsed = false;
    this.state = 'running';
    if (answer === 'ok') this.#succeed('done');
    if (answer === 'refused') this.#fail('executor_refused');
    if (answer === 'unavailable') {
      if (this.attempt < MAX_ATTEMPTS) this.state = 'queued';
      else this.#fail('executor_unavailable');
    }
    return null;
  }

  #expire(): null {
    if (this.#isOpen && this.#isLate) this.#fail('deadline_exceeded');
    else if (this.state === 'running' && this.#isLapsed && this.attempt >= MAX_ATTEMPTS) this.#fail('executor_silent');
    return null;
  }

  #cancel(): string {
    if (this.state === 'cancelled') return '200';
    if (!this.#isOpen) return '409 run_finished';
    this.state = 'cancelled';
    this.isReturned = this.attempt === 0;
    return '200';
  }

  #report(step: Extract<Step, { ago: number }>): string | null {
    const by = this.attempt - step.ago;
    if (by < 1) return null; // nobody was called then
    const isLatest = step.ago === 0;
    const refusal = this.#isOpen ? '409 attempt_superseded' : '409 run_finished';
    if (step.do === 'complete') {
      if (this.#isOpen) this.#succeed(step.output);
      else if (this.state !== 'succeeded' || this.output !== step.output) return refusal;
      return '204';
    }
    if (step.do === 'fail') {
      if (isLatest && step.retryable && this.state === 'queued') return '204';
      if (isLatest && step.retryable && this.state === 'running' && this.attempt < MAX_ATTEMPTS) {
        this.state = 'queued';
        return '204';
      }
      if (isLatest && this.#isOpen) this.#fail(step.code);
      else if (!(isLatest && this.state === 'failed' && this.failure === step.code)) return refusal;
      return '204';
    }
    if (this.state !== 'running' || !isLatest) return refusal;
    if (step.do === 'part') {
      const known = this.parts.get(step.number);
      if (known !== undefined && known !== step.content) return '409 part_conflict';
      this.parts.set(step.number, step.content);
    }
    this.#isLapsed = false;
    return '204';
  }

  #succeed(output: unknown): void {
    this.state = 'succeeded';
    this.output = output;
  }

  #fail(code: string): void {
    this.state = 'failed';
    this.failure = code;
    this.isReturned = true;
  }
}
