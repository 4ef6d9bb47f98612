export { workflowsChecks } from './audit.ts';
export { rememberDefinitions } from './definitions.ts';
export { dispatcher } from './dispatch.ts';
export { workflowsEvents } from './events.ts';
export { executorRoutes } from './executor-routes.ts';
export { runExpirer } from './expire.ts';
export { workflowsOperatorRoutes } from './operator-routes.ts';
export { type WorkflowsDeps, workflowsRoutes } from './routes.ts';
export { createRunCommitter } from './start-run.ts';
