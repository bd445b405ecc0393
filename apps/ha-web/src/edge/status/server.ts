/** Serves the status page, and the same for programs. For operators: it changes nothing, and shows addresses and names of machines. */
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import fastify, { type FastifyInstance } from 'fastify';
import type { Role } from '@lab/process';
import type { Observer } from './observer.ts';
import { renderPage } from './page.ts';

/** Two balancers and a few people ask, each once a second. */
const connectionsMax = 200;

export class StatusServer implements Role {
  readonly #options: { host: string; port: number };
  readonly #app: FastifyInstance;

  constructor(observer: Observer, options: { host: string; port: number }) {
    this.#options = options;
    this.#app = makeApp(observer);
  }

  /** The port that is listened at. */
  get port(): number {
    return (this.#app.server.address() as AddressInfo).port;
  }

  async start(): Promise<void> {
    await this.#app.listen(this.#options);
  }

  stop(): Promise<void> {
    return this.#app.close();
  }
}

function makeApp(observer: Observer): FastifyInstance {
  const app = fastify({ forceCloseConnections: true, requestTimeout: 5_000 });
  app.server.maxConnections = connectionsMax;
  app.addHook('onRequest', (_, reply, done) => {
    reply.headers({
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
      'x-content-type-options': 'nosniff',
    });
    done();
  });
  app.get('/', async (_, reply) => reply.type('text/html; charset=utf-8').send(renderPage(observer.report)));
  for (const [file, type] of Object.entries({ 'page.js': 'text/javascript', 'page.css': 'text/css' })) {
    const text = readFileSync(join(import.meta.dirname, file), 'utf8');
    app.get(`/${file}`, async (_, reply) => reply.type(`${type}; charset=utf-8`).send(text));
  }
  app.get('/favicon.ico', async (_, reply) => reply.code(204).send());
  app.get('/status.json', async () => observer.report);
  app.get('/local.json', async () => observer.local());
  return app;
}
