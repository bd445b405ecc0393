/**
 * A web server of a machine: what the frontend and the API have in common. It says whether it can serve at `/health`, names its machine in each answer, and
 * leaves without a failed request: `/health` says 503 at once, requests go on being served until the balancers have noticed, each
 * on a connection that ends with it, and only then the port is closed.
 */
import type { AddressInfo } from 'node:net';
import { sleep, type Clock, type Logger, type Role } from '@lab/process';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';

export interface ServingOptions {
  /** Of the machine, for the header `x-web-server`. */
  name: string;
  host: string;
  port: number;
  /** How long requests are taken after `/health` has begun to say 503: longer than the balancers' checks need to notice. */
  lameDuckMs: number;
  clock: Clock;
  log: Logger;
}

/** An order is all that clients send, and takes a tenth of it. */
const bodyBytesMax = 16 * 1024;
/** Of a request's headers and body, from whoever sends them drop by drop: as long as HAProxy's `timeout http-request`. */
const requestMs = 5_000;
/** Node looks for requests that are too slow only every 30 s by itself. */
const requestCheckMs = 1_000;
/** The longest that a request may take is an order's 8 s; what is not done then is cut off. */
const drainMs = 9_000;

export class Serving implements Role {
  readonly app: FastifyInstance;
  /** Whether it can serve, as its owner sees it. */
  isReady = true;
  readonly #options: ServingOptions;
  #isDraining = false;

  constructor(options: ServingOptions) {
    this.#options = options;
    this.app = Fastify({
      bodyLimit: bodyBytesMax,
      requestTimeout: requestMs,
      // Node takes no limit for the whole that is below the one for headers, which it sets when the server is made: 60 s if it does not know the whole's.
      http: { requestTimeout: requestMs, connectionsCheckingInterval: requestCheckMs },
      routerOptions: { maxParamLength: 200 },
      forceCloseConnections: 'idle',
      return503OnClosing: false,
      // An address that cannot be read reaches no hook.
      frameworkErrors: (error, request, reply) => {
        this.#sign(reply);
        this.app.errorHandler(error, request, reply);
      },
    });
    this.app.addHook('onRequest', async (_, reply) => this.#sign(reply));
    this.app.get('/health', { schema: { hide: true }, logLevel: 'silent' }, async (_, reply) => {
      const state = this.#isDraining ? 'draining' : this.isReady ? 'ready' : 'not ready';
      return reply
        .code(state === 'ready' ? 200 : 503)
        .header('cache-control', 'no-store')
        .send(`${state}\n`);
    });
  }

  #sign(reply: FastifyReply): void {
    void reply.header('x-web-server', this.#options.name).header('x-content-type-options', 'nosniff');
    if (this.#isDraining) void reply.header('connection', 'close');
  }

  /** The port that is listened at. */
  get port(): number {
    return (this.app.server.address() as AddressInfo).port;
  }

  async start(): Promise<void> {
    await this.app.listen({ host: this.#options.host, port: this.#options.port });
  }

  async stop(): Promise<void> {
    const { clock, lameDuckMs, log } = this.#options;
    this.#isDraining = true;
    await sleep(clock, lameDuckMs);
    const cancel = clock.after(drainMs, () => {
      log.warn('requests were not answered in time: their connections are cut');
      this.app.server.closeAllConnections();
    });
    await this.app.close();
    cancel();
  }
}
