import { expect } from 'vitest';
import { type Client, newOperator, PASSWORD } from '../harness/client.ts';
import type { TestFarebox } from '../harness/farebox.ts';

/** A person's browser at the work list, as far as HTTP knows it: a cookie, forms, and where a request comes from. */
export interface Visitor {
  cookie: string;
  get(path: string): Promise<Page>;
  /** Fills in the form of the page that was seen last, with its hidden token. */
  submit(path: string, fields: Record<string, string>, headers?: Record<string, string>): Promise<Page>;
  /** As any program could. */
  post(path: string, fields: Record<string, string>, headers?: Record<string, string>): Promise<Page>;
  csrf(): string;
}

export interface Page {
  status: number;
  location: string | null;
  text: string;
  headers: Headers;
}

const SAME = { 'sec-fetch-site': 'same-origin', origin: 'null' };

export function newVisitor({ internalUrl }: Pick<TestFarebox, 'internalUrl'>): Visitor {
  const self = { cookie: '', seen: '' };
  const call = async (path: string, init: RequestInit): Promise<Page> => {
    const headers = { ...(self.cookie ? { cookie: self.cookie } : {}), ...(init.headers as Record<string, string>) };
    const response = await fetch(internalUrl + path, { redirect: 'manual', ...init, headers });
    const set = response.headers.get('set-cookie');
    if (set !== null) self.cookie = set.split(';', 1)[0] ?? '';
    const text = await response.text();
    self.seen = text.includes('name="csrf"') ? text : self.seen;
    expect(response.status, text).toBeLessThan(500);
    return { status: response.status, location: response.headers.get('location'), text, headers: response.headers };
  };
  const csrf = () => /name="csrf" value="([^"]+)"/.exec(self.seen)?.[1] ?? '';
  const post: Visitor['post'] = (path, fields, headers = {}) =>
    call(path, { method: 'POST', body: new URLSearchParams(fields), headers });
  return {
    get cookie() {
      return self.cookie;
    },
    set cookie(value) {
      self.cookie = value;
    },
    get: (path) => call(path, {}),
    submit: (path, fields, headers = SAME) => post(path, { csrf: csrf(), ...fields }, headers),
    ...{ post, csrf },
  };
}

/** Somebody at the log-in page, who has typed this. */
export async function tryDoor(farebox: TestFarebox, email: string, password = PASSWORD): Promise<[Visitor, Page]> {
  const visitor = newVisitor(farebox);
  await visitor.get('/ops/login');
  return [visitor, await visitor.submit('/ops/login', { email, password })];
}

/** A new operator who has logged in and sees the work list. */
export async function operatorAt(
  farebox: TestFarebox,
  known?: Client,
): Promise<{ visitor: Visitor; operator: Client }> {
  const operator = known ?? (await newOperator(farebox));
  const [visitor, reply] = await tryDoor(farebox, operator.email);
  expect(reply).toMatchObject({ status: 303, location: '/ops' });
  expect((await visitor.get('/ops')).status).toBe(200);
  return { visitor, operator };
}
