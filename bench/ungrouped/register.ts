import { registerHooks } from 'node:module';

// `node --import` this, and Farebox runs without its group committer: a state that the product has no setting for.
const GROUPED = '/src/platform/database/group-committer.ts';
const UNGROUPED = new URL('./committer.ts', import.meta.url).href;

registerHooks({
  resolve: (specifier, context, next) => {
    const resolved = next(specifier, context);
    return resolved.url.endsWith(GROUPED) ? { ...resolved, url: UNGROUPED } : resolved;
  },
});
