import Fastify from 'fastify';

// A process of its own: what one route costs that does nothing.
const server = Fastify();
server.get('/', async () => ({ hello: 'world' }));
await server.listen({ host: '127.0.0.1', port: Number(process.env['PORT']) });
