/** What a wallet tells when it does not do what it was asked for: what happened, why, and what to do. */
export class WalletFault extends Error {
  readonly exitCode: ExitCode;
  readonly why: string;
  readonly todo: string;
  constructor(exitCode: ExitCode, what: string, why: string, todo: string) {
    super(what);
    this.name = 'WalletFault';
    this.exitCode = exitCode;
    this.why = why;
    this.todo = todo;
  }
}

/** 1: somebody has said no. 2: it could not be done. */
type ExitCode = 1 | 2;

export const refused = (what: string, why: string, todo: string) => new WalletFault(1, what, why, todo);
export const notDone = (what: string, why: string, todo: string) => new WalletFault(2, what, why, todo);
