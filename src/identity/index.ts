export { findAccount } from './accounts.ts';
export { acceptTokens, createAuthenticator } from './authenticate.ts';
export { identityCommands } from './commands.ts';
export { openKeyRing } from './keys.ts';
export { identityOperatorRoutes } from './operator-routes.ts';
export { identityPages } from './pages.ts';
export { type IdentityDeps, identityRoutes } from './routes.ts';
export { sessionReaper } from './sessions.ts';
export { createTokens } from './tokens.ts';
