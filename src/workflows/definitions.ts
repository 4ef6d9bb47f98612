import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import draft7 from 'ajv/dist/refs/json-schema-draft-07.json' with { type: 'json' };
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
  serviceVersion: number;
  workflowVersion: number;
  inputDefaults: Record<string, unknown>;
  check: InputCheck;
}

type InputCheck = (input: Record<string, unknown>) => FieldError[];

export interface Definitions {
  /** `undefined` when there is no such workflow. Whose it is does not matter here. */
  find(workflowId: string): Promise<Definition | undefined>;
  forget(workflowId: string): void;
}

const REMEMBERED = 20_000;
const MAX_ERRORS = 20;

export function rememberDefinitions(db: Db): Definitions {
  const known = new Map<string, Definition>();
  const checks = new Map<string, InputCheck>();
  return {
    forget: (workflowId) => known.delete(workflowId),
    find: async (workflowId) => {
      const remembered = known.get(workflowId);
      if (remembered) return remembered;
      const [row] = await db
        .select({
          serviceId: services.id,
          serviceVersion: services.version,
          inputSchema: services.inputSchema,
          workflowVersion: workflows.version,
          inputDefaults: workflows.inputDefaults,
        })
        .from(workflows)
        .innerJoin(services, eq(services.id, workflows.serviceId))
        .where(eq(workflows.id, workflowId));
      if (!row) return undefined;
      const version = `${row.serviceId} ${row.serviceVersion}`;
      const check = checks.get(version) ?? compileSchema(row.inputSchema as object);
      bounded(checks).set(version, check);
      const definition: Definition = {
        workflowId,
        serviceVersion: row.serviceVersion,
        workflowVersion: row.workflowVersion,
        inputDefaults: row.inputDefaults as Record<string, unknown>,
        check,
      };
      bounded(known).set(workflowId, definition);
      return definition;
    },
  };
}

/** Drops everything when full: it is back within one query each. */
function bounded<K, V>(map: Map<K, V>): Map<K, V> {
  if (map.size >= REMEMBERED) map.clear();
  return map;
}

/** Compiles an input schema (JSON Schema 2020-12 or draft-07); a 422 when it is none. References to elsewhere are refused. */
export function compileSchema(schema: object): InputCheck {
  const ajv = new Ajv2020({ strict: false, allErrors: false, validateSchema: true });
  ajv.addMetaSchema(draft7);
  addFormats.default(ajv);
  let validate: ValidateFunction;
  try {
    validate = ajv.compile(schema);
  } catch (fault) {
    const detail = fault instanceof Error ? fault.message.slice(0, 300) : 'is not a JSON Schema';
    throw new Problem('validation_failed', undefined, {
      errors: [{ pointer: '/input_schema', code: 'invalid_schema', detail }],
    });
  }
  return (input) => {
    if (validate(input)) return [];
    return (validate.errors ?? []).slice(0, MAX_ERRORS).map((error) => {
      const missing = error.keyword === 'required' ? [String(error.params['missingProperty'])] : [];
      return {
        pointer: `/input${error.instancePath}${pointerOf(missing)}`,
        code: error.keyword,
        detail: error.message ?? 'is not acceptable',
      };
    });
  };
}
