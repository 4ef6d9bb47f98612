import pino, { type Logger } from 'pino';

export type Log = Logger;

/**
 * Logs carry what we name, never what we are given: no bodies, no headers, no parameters of SQL, no driver messages
 * with values in them. An error is logged by its class, code, message and stack; those of the database lose their
 * message, because it can quote a row.
 */
export function createLog(level: string, destination?: pino.DestinationStream): Log {
  return pino(
    {
      level,
      base: { service: 'farebox' },
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: describeFault, req: () => undefined, res: () => undefined },
      formatters: { level: (label) => ({ level: label }) },
    },
    // Buffered: a blocked sink must not hold up requests. The buffer is bounded; what does not fit is dropped.
    destination ?? pino.destination({ dest: 1, sync: false, maxLength: 8 * 1024 * 1024 }),
  );
}

const MAX_CAUSES = 5;

interface Fault {
  type: string;
  code?: string;
  message?: string;
  stack?: string;
  cause?: Fault;
}

export function describeFault(fault: unknown, depth = 0): Fault {
  if (!(fault instanceof Error)) return { type: typeof fault };
  const code = (fault as { code?: unknown }).code;
  const fromDatabase = isDatabaseFault(fault);
  return {
    type: fault.name,
    ...(typeof code === 'string' ? { code } : {}),
    ...(fromDatabase ? { ...constraintOf(fault) } : { message: fault.message }),
    ...(fault.stack ? { stack: framesOf(fault.stack, fault.message) } : {}),
    ...(fault.cause !== undefined && depth < MAX_CAUSES ? { cause: describeFault(fault.cause, depth + 1) } : {}),
  };
}

/** The driver's errors, and drizzle's wrapper around them, which puts the parameters into its message. */
const isDatabaseFault = (fault: Error) =>
  fault.name === 'PostgresError' || fault.name === 'DrizzleQueryError' || 'query' in fault;

function constraintOf(fault: Error): { message?: string } {
  const { constraint_name, routine } = fault as { constraint_name?: string; routine?: string };
  const place = constraint_name ?? routine;
  return place ? { message: place } : {};
}

/** Only the frames: a stack begins with the message, and a message can have lines that look like frames. */
const framesOf = (stack: string, message: string) =>
  stack
    .replace(message, () => '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .join('\n');
