import { z } from 'zod';
import { html, page } from '../platform/http/html.ts';
import { pages } from '../platform/http/pages.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers } from '../platform/http/wire.ts';
import { isResetOpen, useReset } from './accounts.ts';
import type { IdentityDeps } from './routes.ts';

const params = z.strictObject({ token: z.string().regex(/^[\w-]{43}$/) });

/** The page behind an operator's one-time link: a new password, and nothing else. */
export async function identityPages(app: App, { db, authenticator }: IdentityDeps): Promise<void> {
  await pages(app, (inner) => {
    const schema = { hide: true, params, response: answers({ 200: z.string() }) } as const;

    inner.get(
      '/reset-password/:token',
      { config: { access: 'anyone', rate: 'auth' }, schema },
      async (request, reply) => {
        if (!(await isResetOpen(db, request.params.token)))
          throw new Problem('link_expired', 'Links like this work once, for a day. Ask the operator for a new one.');
        const body = html`
        <h1>Choose a new password</h1>
        <p>All sessions of your account end when you save it.</p>
        <form method="post">
          <label for="password">New password</label>
          <input id="password" name="new_password" type="password" autocomplete="new-password" minlength="8" maxlength="128" required aria-describedby="hint">
          <p class="soft" id="hint">8 to 128 characters, and not a common one</p>
          <button>Save</button>
        </form>`;
        return page(reply, { title: 'New password', body });
      },
    );

    inner.post(
      '/reset-password/:token',
      {
        config: { access: 'anyone', rate: 'auth', idempotency: 'none' },
        schema: { ...schema, body: z.object({ new_password: z.string().max(1024) }) },
      },
      async (request, reply) => {
        const account = await useReset(db, request.params.token, request.body.new_password, request.id);
        authenticator.forget(account.id);
        const body = html`<h1>Your new password is saved</h1><p>Log in with it. You can close this page.</p>`;
        return page(reply, { title: 'New password', body });
      },
    );
  });
}
