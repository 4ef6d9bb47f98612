import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formatsOf, { type FormatsPlugin } from 'ajv-formats';
import type { Json } from './client.ts';

const addFormats = formatsOf as unknown as FormatsPlugin;

/** What an OpenAPI document says about replies, to hold real ones against it. */
export interface Documented {
  document: Json;
  /** What is wrong with this reply, in words; undefined when it is as documented, or its route is not in the document. */
  complain(
    method: string,
    pattern: string,
    reply: { status: number; headers: Headers; text: string },
  ): string | undefined;
}

export async function documented(url: string): Promise<Documented> {
  const document: Json = await (await fetch(`${url}/openapi.json`)).json();
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats(ajv);
  ajv.addSchema(document, 'doc');
  const compiled = new Map<string, ValidateFunction>();
  const validator = (pointer: string) => {
    const known = compiled.get(pointer) ?? ajv.compile({ $ref: `doc#${pointer}` });
    compiled.set(pointer, known);
    return known;
  };
  return {
    document,
    complain: (method, pattern, { status, headers, text }) => {
      const path = pattern.replace(/:(\w+)/g, '{$1}');
      const operation = document.paths[path]?.[method.toLowerCase()];
      if (!operation) return undefined;
      const name = [String(status), `${Math.floor(status / 100)}XX`].find((one) => one in operation.responses);
      if (!name) return `${method} ${path} does not document ${status}`;
      const content = operation.responses[name].content ?? {};
      const type = headers.get('content-type')?.split(';', 1)[0] ?? '';
      if (Object.keys(content).length === 0) return text === '' ? undefined : `${status} should have no body`;
      if (!(type in content)) return `${method} ${path} ${status} is ${type}, not ${Object.keys(content)}`;
      if (!type.endsWith('json')) return undefined;
      const steps = ['paths', path, method.toLowerCase(), 'responses', name, 'content', type, 'schema'];
      const pointer = steps.map((step) => `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
      const validate = validator(encodeURI(pointer));
      return validate(JSON.parse(text)) ? undefined : `${method} ${path} ${status}: ${ajv.errorsText(validate.errors)}`;
    },
  };
}
