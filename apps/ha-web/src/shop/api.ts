/** The REST API. Any web server answers any request: all state is in the database. Every request may be sent again when its answer was lost. */
import swaggerUi from '@fastify/swagger-ui';
import { retry, type Logger, type Role } from '@lab/process';
import { PasswordsBusyError, type Passwords } from '@lab/process/passwords';
import type { Tracer } from '@lab/tracing';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { Counter, Histogram, Registry } from 'prom-client';
import { z } from 'zod';
import * as accounts from './accounts.ts';
import * as catalogue from './catalogue.ts';
import { DatabaseUnavailableError, Mariadb, requestMsMax, type Database, type MariadbOptions } from './database.ts';
import * as messages from './messages.ts';
import { migrate } from './migrate.ts';
import * as orders from './orders.ts';
import type { Services } from './ports.ts';
import { Refusal } from './refusal.ts';
import { Serving, type ServingOptions } from './serving.ts';
import { tracedDatabase } from './traced.ts';
import { describeRoutes, withZod, type ZodApp } from './zod-routes.ts';

export interface ApiOptions extends ServingOptions {
  mariadb: Omit<MariadbOptions, 'clock' | 'log' | 'onRetry'>;
  services: Services;
  passwords: Passwords;
  tracer?: Tracer | undefined;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The database, whose servers' names go into the answer's header `x-database`. */
    database: Database;
  }
}

/**
 * A page that shows nothing for longer is reloaded by whoever looks at it. Through HAProxy a GET gets no answer of a server that comes so late: HAProxy gives
 * it 2.5 s for each of four tries, and ends it with a 504 of its own after 10 s.
 */
const getMs = 5_000;
/** While there is nothing to write to, the tables wait; soon after there is they are made. */
const migrateAgainMs = 1_000;

/** A web server of the API. It takes requests when it has started, and is ready (200 at `/health`) when the tables are up to date. */
export async function makeApi(options: ApiOptions): Promise<Role & { readonly port: number }> {
  const serving = new Serving(options);
  const { clock, log } = options;
  const metrics = makeMetrics();
  const mariadb = new Mariadb({ ...options.mariadb, clock, log, onRetry: () => metrics.retries.inc() });
  await addRoutes(serving, options, mariadb, metrics);
  const stopping = new AbortController();
  serving.isReady = false;
  return {
    get port() {
      return serving.port;
    },
    async start() {
      mariadb.open();
      await serving.start();
      makeTables(mariadb, options, stopping.signal).then(
        () => (serving.isReady = true),
        () => undefined,
      );
    },
    async stop() {
      stopping.abort();
      await serving.stop();
      mariadb.close();
    },
  };
}

/** Brings the tables up to date, however long the database is not there; rejects only when it is told to stop. */
const makeTables = (mariadb: Mariadb, { clock, log }: ApiOptions, signal: AbortSignal): Promise<void> =>
  retry(() => migrate(mariadb.for(requestMsMax, () => undefined)), {
    ...{ clock, signal, withinMs: Infinity, pauseMs: migrateAgainMs },
    onRetry: (error) => log.warn({ err: error }, 'the tables are not ready yet'),
  });

interface Metrics {
  registry: Registry;
  seconds: Histogram;
  retries: Counter;
}

function makeMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  return {
    registry,
    seconds: new Histogram({
      name: 'http_request_seconds',
      help: 'Time that requests took',
      labelNames: ['method', 'route', 'status'],
      // From an answer out of memory to an order that waited for a new primary.
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 8],
      registers,
    }),
    retries: new Counter({
      name: 'database_retries_total',
      help: 'Tries on the database that failed and were repeated',
      registers,
    }),
  };
}

async function addRoutes(serving: Serving, options: ApiOptions, mariadb: Mariadb, metrics: Metrics): Promise<void> {
  const { app } = serving;
  const { log } = options;
  // A form of another site could send this one without asking; JSON it cannot.
  app.removeContentTypeParser('text/plain');
  app.decorateRequest('database', null as unknown as Database);
  app.addHook('onRequest', async (request, reply) => {
    const requestMs = request.method === 'GET' ? getMs : requestMsMax;
    const database = mariadb.for(requestMs, (server) => void reply.header('x-database', server));
    const what = `${request.method} ${request.routeOptions.url ?? 'none'}`;
    const { 'idempotency-key': key } = request.headers;
    request.database = tracedDatabase(database, options.tracer, what, key?.toString());
    void reply.header('cache-control', 'no-store');
  });
  app.addHook('onResponse', async ({ method, routeOptions }, { statusCode, elapsedTime }) =>
    metrics.seconds.observe({ method, route: routeOptions.url ?? 'none', status: statusCode }, elapsedTime / 1000),
  );
  app.setErrorHandler<FastifyError>((error, _, reply) => refuse(reply, error, log));
  app.setNotFoundHandler((request, reply) =>
    refuse(reply, new Refusal('not-found', `there is no ${request.method} ${request.url}`), log),
  );
  app.get('/metrics', { schema: { hide: true } }, async (_, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
  await describeRoutes(app, {
    title: 'Marketplace',
    version: '1',
    description: 'Every request may be sent again when its answer was lost.',
  });
  await app.register(swaggerUi, {
    routePrefix: '/api/docs',
    // Nothing is asked of other hosts, and nothing through TLS, which ends before the balancers where there is any.
    staticCSP:
      "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    uiConfig: { validatorUrl: null },
  });
  await app.register(
    async (scope) => {
      const api = withZod(scope);
      addCatalogue(api, options.services);
      addAccounts(api, options);
      addOrders(api, options.services);
    },
    { prefix: '/api' },
  );
}

function refuse(reply: FastifyReply, error: Error & { statusCode?: number }, log: Logger): FastifyReply {
  const refusal = refusalOf(error);
  if (refusal.kind === 'internal') log.error({ err: error }, 'a request failed');
  // Whoever comes again after a second finds most failovers done.
  if (refusal.kind === 'unavailable') void reply.header('retry-after', '1');
  void reply.code(refusal.status).type('application/problem+json').header('cache-control', 'no-store');
  return reply.send(JSON.stringify(refusal));
}

/** Fastify's own errors have a status. */
function refusalOf(error: Error & { statusCode?: number }): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof DatabaseUnavailableError) {
    return new Refusal(
      'unavailable',
      'The database does not answer at this moment. Nothing is lost: send the same request again.',
    );
  }
  if (error instanceof PasswordsBusyError) return new Refusal('unavailable', error.message);
  const { statusCode = 500 } = error;
  if (statusCode === 413) return new Refusal('too-large', error.message);
  if (statusCode === 415) return new Refusal('wrong-type', error.message);
  if (statusCode < 500) return new Refusal('invalid', error.message);
  return new Refusal('internal', 'Something went wrong here. It was noted.');
}

function addCatalogue(api: ZodApp, { maps, notices }: Services): void {
  api.get('/about', { schema: { summary: 'What is not real here', response: { 200: messages.about } } }, async () => ({
    standIns: [...notices],
  }));
  api.get(
    '/producers',
    { schema: { summary: 'All producers', response: { 200: z.array(messages.producer) } } },
    async ({ database }) => catalogue.listProducers(database),
  );
  api.get(
    '/producers/:id',
    { schema: { summary: 'One producer', params: messages.byId, response: { 200: messages.producer } } },
    async ({ database, params }) => catalogue.findProducer(database, params.id),
  );
  api.get(
    '/producers/:id/map.svg',
    { schema: { summary: 'Where a producer is', params: messages.byId } },
    async ({ database, params }, reply) => {
      const { latitude, longitude } = await catalogue.findProducer(database, params.id);
      return reply.type('image/svg+xml').send(await maps.picture(latitude, longitude));
    },
  );
  api.get(
    '/products',
    { schema: { summary: 'Products, by page', querystring: messages.productQuery, response: { 200: messages.productPage } } },
    async ({ database, query }) => catalogue.listProducts(database, query),
  );
  api.get(
    '/products/:id',
    { schema: { summary: 'One product', params: messages.byId, response: { 200: messages.product } } },
    async ({ database, params }) => catalogue.findProduct(database, params.id),
  );
}

function addAccounts(api: ZodApp, { services, passwords }: ApiOptions): void {
  const opened = (reply: FastifyReply, session: messages.Session, status: number): FastifyReply =>
    reply.code(status).header('set-cookie', sessionCookie(session.token, accounts.sessionSeconds)).send(session);
  api.post(
    '/accounts',
    { schema: { summary: 'Register, and log in', body: messages.credentials, response: { 201: messages.session } } },
    async ({ database, body }, reply) => opened(reply, await accounts.register(database, body, passwords), 201),
  );
  api.post(
    '/sessions',
    { schema: { summary: 'Log in', body: messages.credentials, response: { 201: messages.session } } },
    async ({ database, body }, reply) => opened(reply, await accounts.logIn(database, body, passwords), 201),
  );
  api.post(
    '/sessions/visitor',
    { schema: { summary: 'Log in with another service', body: messages.visitor, response: { 201: messages.session } } },
    async ({ database, body }, reply) => {
      const name = await services.signIn.identify(body.token);
      if (name === undefined) throw new Refusal('wrong-password', 'the sign-in service does not know you');
      return opened(reply, await accounts.visit(database, name), 201);
    },
  );
  api.get(
    '/sessions/current',
    { schema: { summary: 'Who is logged in', response: { 200: messages.current } } },
    async (request) => ({ account: (await accounts.findAccount(request.database, tokenOf(request))) ?? null }),
  );
  api.delete('/sessions/current', { schema: { summary: 'Log out' } }, async (request, reply) => {
    const token = tokenOf(request);
    if (token !== undefined) await accounts.closeSession(request.database, token);
    return reply.code(204).header('set-cookie', sessionCookie('', 0)).send();
  });
}

function addOrders(api: ZodApp, { carrier, payment }: Services): void {
  api.get('/basket', { schema: { summary: 'The basket', response: { 200: messages.basket } } }, async (request) =>
    orders.readBasket(request.database, await accountOf(request)),
  );
  api.put(
    '/basket/items/:id',
    {
      schema: {
        summary: 'Put a product into the basket',
        params: messages.byId,
        body: messages.basketItem,
        response: { 200: messages.basket },
      },
    },
    async (request) => {
      const account = await accountOf(request);
      return orders.putIntoBasket(request.database, account, request.params.id, request.body.quantity);
    },
  );
  api.post(
    '/orders',
    {
      schema: {
        summary: 'Place an order, once for each key: 201 the first time, 200 when it is repeated',
        headers: messages.idempotencyKey,
        body: messages.orderRequest,
        response: { 200: messages.order, 201: messages.order },
      },
    },
    async (request, reply) => {
      const account = await accountOf(request);
      const key = request.headers['idempotency-key'];
      const { order, isNew } = await orders.placeOrder(request.database, carrier, account, key, request.body);
      return reply.code(isNew ? 201 : 200).send(order);
    },
  );
  api.get('/orders', { schema: { summary: 'Your newest orders', response: { 200: z.array(messages.order) } } }, async (request) =>
    orders.listOrders(request.database, carrier, await accountOf(request)),
  );
  api.get(
    '/orders/:id',
    { schema: { summary: 'One of your orders', params: messages.byId, response: { 200: messages.order } } },
    async (request) => orders.findOrder(request.database, carrier, await accountOf(request), request.params.id),
  );
  api.post(
    '/orders/:id/payment',
    { schema: { summary: 'Pay an order', params: messages.byId, response: { 200: messages.order } } },
    async (request) => orders.payOrder(request.database, payment, carrier, await accountOf(request), request.params.id),
  );
}

async function accountOf(request: FastifyRequest): Promise<messages.Account> {
  const account = await accounts.findAccount(request.database, tokenOf(request));
  if (account === undefined) throw new Refusal('not-logged-in', 'log in first');
  return account;
}

const cookieName = 'session';

/** No script can read it, and no other site's form can use it. Behind TLS it would be `Secure`, too. */
const sessionCookie = (token: string, maxAgeSeconds: number): string =>
  `${cookieName}=${token}; Path=/api; HttpOnly; SameSite=Lax; Max-Age=${maxAgeSeconds}`;

function tokenOf({ headers }: Pick<FastifyRequest, 'headers'>): string | undefined {
  const bearer = /^Bearer (\S+)$/i.exec(headers.authorization ?? '')?.[1];
  return bearer ?? new RegExp(`(?:^|;\\s*)${cookieName}=([\\w-]+)`).exec(headers.cookie ?? '')?.[1];
}
