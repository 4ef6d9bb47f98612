import { createContext, Script } from 'node:vm';
import { Ajv, type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { eq } from 'drizzle-orm';
import type { Db } from '../platform/database/clients.ts';
import { pointerOf } from '../platform/http/failures.ts';
import { type FieldError, Problem } from '../platform/http/problem.ts';
import { services, workflows } from './tables.ts';

/**
 * What a run is made from, remembered between runs: the input is checked before any money moves. Versions make that
 * exact: the statement that starts a run refuses a definition that is no longer the present one.
 */
export interface Definition {
  workflowId: string;
  serviceId: string;
  serviceVersion: number;
  workflowVersion: number;
  inputDefaults: Record<string, unknown>;
  /** Its cost is spent when a run is accepted; otherwise runs are paid by asks (asks/). */
  isPlain: boolean;
  check: InputCheck;
}

type InputCheck = (input: Record<string, unknown>) => FieldError[];

export interface Definitions {
  /** `undefined` when there is no such workflow. Whose it is does not matter here. */
  find(workflowId: string): Promise<Definition | undefined>;
  forget(workflowId: string): void;
}

const REMEMBERED = 20_000;
const REMEMBERED_CHARS = 16 * 1024 * 1024; // of input defaults: each workflow may have up to 64 KiB of them
const REMEMBERED_CHECKS = 2_000; // compiled schemas, one for each service

export function rememberDefinitions(db: Db): Definitions {
  const known = new Map<string, Definition & { chars: number }>();
  const checks = new Map<string, { version: number; check: InputCheck }>();
  let chars = 0;
  const forget = (workflowId: string) => {
    chars -= known.get(workflowId)?.chars ?? 0;
    known.delete(workflowId);
  };
  /** Drops everything when full: it is back within one query each. */
  const makeRoom = (more: number) => {
    if (known.size < REMEMBERED && chars + more <= REMEMBERED_CHARS && checks.size < REMEMBERED_CHECKS) return;
    known.clear();
    checks.clear();
    chars = 0;
  };
  /** One check is kept for each service: what was made from a former version goes with it. */
  const checkOf = (serviceId: string, version: number, schema: object): InputCheck => {
    const kept = checks.get(serviceId);
    if (kept?.version === version) return kept.check;
    for (const definition of known.values()) if (definition.serviceId === serviceId) forget(definition.workflowId);
    const check = compile(schema);
    checks.set(serviceId, { version, check });
    return check;
  };
  return {
    forget,
    find: async (workflowId) => {
      const remembered = known.get(workflowId);
      if (remembered) return remembered;
      const [row] = await db
        .select({
          serviceId: services.id,
          serviceVersion: services.version,
          inputSchema: services.inputSchema,
          payment: services.payment,
          milestones: workflows.milestones,
          workflowVersion: workflows.version,
          inputDefaults: workflows.inputDefaults,
        })
        .from(workflows)
        .innerJoin(services, eq(services.id, workflows.serviceId))
        .where(eq(workflows.id, workflowId));
      if (!row) return undefined;
      const { inputSchema, payment, milestones, ...rest } = row;
      const inputDefaults = row.inputDefaults as Record<string, unknown>;
      const weight = JSON.stringify(inputDefaults).length;
      forget(workflowId); // another request may have been as fast
      makeRoom(weight);
      const check = checkOf(row.serviceId, row.serviceVersion, inputSchema as object);
      const isPlain = payment.mode === 'upfront' && milestones === null;
      const definition = { workflowId, ...rest, inputDefaults, isPlain, check, chars: weight };
      known.set(workflowId, definition);
      chars += weight;
      return definition;
    },
  };
}

const DRAFT_7 = /^http:\/\/json-schema\.org\/draft-07\/schema#?$/;
const isDraft7 = (schema: object) => '$schema' in schema && DRAFT_7.test(String(schema.$schema));
/** They judge schemas; inputs are checked by an instance for each schema, so that no schema can refer to another's. */
const judges = {
  draft7: new Ajv({ strict: false, logger: false }),
  draft2020: new Ajv2020({ strict: false, logger: false }),
};

/**
 * Compiles an input schema (JSON Schema 2020-12, or draft-07 when `$schema` says so); a 422 when it is none. References
 * to elsewhere are refused.
 */
export function compileSchema(schema: object): InputCheck {
  const judge = isDraft7(schema) ? judges.draft7 : judges.draft2020;
  try {
    if (judge.validateSchema(schema) !== true) throw new Error(judge.errorsText(judge.errors, { dataVar: 'schema' }));
    const check = compile(schema);
    if (check({}).includes(UNCHECKED)) throw new Error('schema refers to itself without end');
    return check;
  } catch (fault) {
    const detail = fault instanceof Error ? fault.message.slice(0, 300) : 'is not a JSON Schema';
    throw new Problem('validation_failed', undefined, {
      errors: [{ pointer: '/input_schema', code: 'invalid_schema', detail }],
    });
  }
}

/** What can take more than one look at each character: regular expressions, comparing all with all, recursion. */
const COSTLY = /"(pattern|patternProperties|uniqueItems|\$ref|\$dynamicRef|\$recursiveRef|format":"url)"/;
const META_SCHEMA = /"\$ref":"https?:\/\/json-schema\.org\//;

function compile(schema: object): InputCheck {
  const text = JSON.stringify(schema);
  // Meta-schemas are large, and only a schema that takes schemas as input refers to one.
  const options = { strict: false, logger: false, validateSchema: false, meta: META_SCHEMA.test(text) } as const;
  const ajv = isDraft7(schema) ? new Ajv(options) : new Ajv2020(options);
  addFormats.default(ajv);
  const validate = ajv.compile(schema);
  // It would answer with a promise, which counts as yes.
  if ('$async' in validate) throw new Error('schema must not be asynchronous');
  const isBounded = !COSTLY.test(text);
  return (input) => {
    if (isBounded) return validate(input) ? [] : faultsOf(validate);
    const verdict = withinTime(() => validate(input));
    if (verdict === undefined) return [UNCHECKED];
    return verdict ? [] : faultsOf(validate);
  };
}

const faultsOf = (validate: ValidateFunction): FieldError[] =>
  (validate.errors ?? []).map((error) => {
    const missing = error.keyword === 'required' ? [String(error.params['missingProperty'])] : [];
    return {
      pointer: `/input${error.instancePath}${pointerOf(missing)}`,
      code: error.keyword,
      detail: error.message ?? 'is not acceptable',
    };
  });

const UNCHECKED: FieldError = {
  pointer: '/input',
  code: 'too_complex',
  detail: 'takes too long to be checked against the schema of the service',
};

const LONGEST_CHECK_MS = 250; // everything else waits meanwhile; an honest check takes less than one
const arena = createContext({ work: () => {} });
const script = new Script('work()');

/** Runs what a hostile input can make endless; `undefined`: it was stopped, or it ran out of stack. */
function withinTime(work: () => boolean): boolean | undefined {
  let result: boolean | undefined;
  arena['work'] = () => {
    result = work();
  };
  try {
    script.runInContext(arena, { timeout: LONGEST_CHECK_MS });
    return result;
  } catch (fault) {
    // The time-out is thrown by the arena, whose errors are not ours.
    const { code } = fault as { code?: unknown };
    if (code === 'ERR_SCRIPT_EXECUTION_TIMEOUT' || fault instanceof RangeError) return undefined;
    throw fault;
  }
}
