import { createControl, type OmiseControl } from './control/control.ts';
import { serveControl } from './control/control-server.ts';
import { type Listener, listen } from './http/listener.ts';
import { serve } from './http/serve.ts';
import { remember } from './memory.ts';
import { routes } from './routes.ts';
import { createWorld, type World, type WorldOptions } from './state.ts';

export interface OmiseOptions extends WorldOptions {
  host?: string;
  /** API, vault, QR images and pages; 0 = any free port. */
  port?: number;
  controlPort?: number;
  /** PEM; the API is then served over TLS. The control port is not. */
  tls?: { key: string; cert: string };
  /** Where it keeps what it knows between starts; none = it forgets. */
  memoryFile?: string;
  /** How others reach it, when that is not its own address (in a container). */
  publicUrl?: string;
}

export interface OmiseStandIn {
  url: string;
  port: number;
  controlUrl: string;
  control: OmiseControl;
  /** Ends every connection, delivery and timer. */
  close(): Promise<void>;
}

/** Starts a stand-in for Omise that speaks its wire protocol. It shares nothing with other stand-ins of the process. */
export async function startOmise(options: OmiseOptions): Promise<OmiseStandIn> {
  const { host = '127.0.0.1', port = 0, controlPort = 0, tls } = options;
  const world = createWorld(options);
  const memory = options.memoryFile === undefined ? undefined : remember(world, options.memoryFile);
  const control = createControl(world);
  const api = await listen({ host, port, ...(tls && { tls }) }, serve(world, routes));
  const desk = await listen({ host, port: controlPort }, serveControl(control)).catch(async (fault: unknown) => {
    await api.close();
    throw fault;
  });
  world.url = options.publicUrl ?? urlOf(api, tls === undefined ? 'http' : 'https');
  return {
    url: world.url,
    port: api.port,
    controlUrl: urlOf(desk, 'http'),
    control,
    close: async () => {
      memory?.stop();
      await close(world, api, desk);
    },
  };
}

function urlOf({ host, port }: Listener, scheme: string): string {
  return `${scheme}://${host}:${port}`;
}

async function close(world: World, api: Listener, desk: Listener): Promise<void> {
  world.stopping.abort();
  world.post.close();
  await Promise.all([api.close(), desk.close()]);
}
