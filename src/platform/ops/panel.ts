import type { Tx } from '../database/clients.ts';

/**
 * The work list of operators is made of panels, which contexts contribute: each lists what waits for a person, shows the
 * evidence, and says which decisions there are.
 */
export interface Panel {
  /** In addresses: lower case, one word. */
  name: string;
  title: string;
  /** What these are, and what is to be done about them; one sentence. */
  hint: string;
  /** What the button of each entry says. */
  button: string;
  /** The most dangerous and oldest first, `limit` at most; `total` counts all of them. */
  list(limit: number): Promise<{ entries: Entry[]; total: number }>;
  /** Undefined when there is no such thing. What is decided already is still found, without actions. */
  find(id: string): Promise<Case | undefined>;
}

/** One line of a panel. */
export interface Entry {
  /** Names it within its panel; 200 characters at most. */
  id: string;
  /** Since when it waits. */
  since: Date;
  /** With its unit. */
  amount: string;
  what: string;
  why: string;
}

/** Everything that there is to know about one entry, and what can be decided. */
export interface Case {
  title: string;
  amount: string;
  /** What it is about now, in a word. */
  state: string;
  facts: [name: string, value: string][];
  /** What has happened, oldest first. */
  steps: { at: Date; who: string; what: string; detail: string }[];
  /** In the order of their safety. Empty: there is nothing to decide any more. */
  actions: Action[];
}

export interface Action {
  /** In addresses: lower case, one word. */
  name: string;
  label: string;
  /** What it will do, told before it is done. */
  effect: string;
  /** It is refused money or access: shown as such. */
  isRefusal?: boolean;
  /** Something to be told beside the reason. */
  field?: { label: string; hint: string; pattern: string; maxLength: number };
  /** In one transaction. A `Problem` is shown to the operator. */
  run(tx: Tx, decision: Decision): Promise<unknown>;
  /** After the commit. */
  after?(): Promise<void>;
}

export interface Decision {
  operatorId: string;
  requestId: string;
  reason: string;
  /** Of the action's field; '' when it has none. */
  value: string;
}

/** Something that was counted over the last day. */
export interface Figure {
  label: string;
  /** The sum, with its unit. */
  text: string;
  /** Of each of the 24 hours, oldest first; null: it was too much to count in time. */
  hours: number[] | null;
  /** A second sentence. */
  note?: string;
}

export type Figures = () => Promise<Figure[]>;
