/** A web server on 127.0.0.1 for one page and what it asks for, at an address that nobody guesses: whoever knows it may use it, no other site may. */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ExitError, exitCodes } from '@lab/process';
import { z } from 'zod';

/** What there is below the secret path, by its name; `''` is the page itself. What a route throws is a 400 with its message. */
export type Routes = Readonly<Record<string, Route>>;

export interface Route {
  readonly method: 'GET' | 'POST';
  handle(this: void, request: IncomingMessage, response: ServerResponse): void | Promise<void>;
}

export interface Served {
  /** Of the page, with its secret: it ends with `/`. */
  readonly url: string;
  close(this: void): Promise<void>;
}

export async function serve(routes: Routes, port: number): Promise<Served> {
  const path = `/${randomBytes(16).toString('base64url')}/`;
  const server = createServer((request, response) => {
    const name = request.url?.startsWith(path) === true ? request.url.slice(path.length) : undefined;
    const route = name !== undefined && Object.hasOwn(routes, name) ? routes[name] : undefined;
    const status = refusalOf(request, ownName(), route?.method ?? 'GET');
    if (status !== undefined) return answer(response, status, 'text/plain', 'not for you\n');
    if (route === undefined) return answer(response, 404, 'text/plain', 'There is only the page that the command has printed\n');
    (async () => route.handle(request, response))().catch((error: Error) =>
      response.headersSent ? response.destroy() : answer(response, 400, 'text/plain', `${error.message}\n`),
    );
  });
  const ownName = (): string => `127.0.0.1:${(server.address() as AddressInfo).port}`;
  await listen(server, port);
  return {
    url: `http://${ownName()}${path}`,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

/** Whoever got here by another name, or from the page of another site. */
function refusalOf({ method, headers }: IncomingMessage, own: string, wanted: Route['method']): number | undefined {
  if (method !== wanted) return 405;
  // Of the port 80 nobody says it.
  const host = /:\d+$/.test(headers.host ?? '') ? headers.host : `${headers.host}:80`;
  if (host !== own || (headers.origin !== undefined && headers.origin !== `http://${own}`)) return 403;
  const site = headers['sec-fetch-site'];
  return site === undefined || site === 'none' || site === 'same-origin' ? undefined : 403;
}

/** The page, and the file that it gives to be saved. */
export const pageRoutes = (page: () => string, saved: () => string): Routes => ({
  '': { method: 'GET', handle: (_, response) => answer(response, 200, 'text/html; charset=utf-8', page()) },
  save: {
    method: 'GET',
    handle: (_, response) => answer(response, 200, 'text/html; charset=utf-8', saved(), { 'content-disposition': 'attachment' }),
  },
});

/** Neither a page nor a batch of spans has more to say. */
const bodyBytesMax = 4 * 1024 * 1024;

/** The body of a request: JSON as it is asked for, at most 4 MiB. */
export async function bodyOf<Body>(request: IncomingMessage, schema: z.ZodType<Body>): Promise<Body> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > bodyBytesMax) throw new RangeError(`the request has more than ${bodyBytesMax} bytes`);
    parts.push(part);
  }
  const { data, error } = schema.safeParse(JSON.parse(Buffer.concat(parts).toString()));
  // Its own message is JSON.
  if (error !== undefined) throw new TypeError(z.prettifyError(error), { cause: error });
  return data;
}

const headersOfAll = {
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'content-security-policy': "frame-ancestors 'none'",
};

/** Of what never ends: server-sent events. */
export const streamHeaders = { 'content-type': 'text/event-stream', ...headersOfAll };

export function answer(
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': type, ...headersOfAll, ...headers });
  response.end(body);
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((done, failed) => {
    server.once('error', (error) =>
      failed(
        new ExitError(`port ${port} cannot be had: ${error.message}; leave --port out for a free one`, exitCodes.usage, {
          cause: error,
        }),
      ),
    );
    server.listen(port, '127.0.0.1', done);
  });
}
