/** A marketplace of a test: web servers of the real application on a real MariaDB, behind a front door that stands for the balancers. */
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { silentLogger, systemClock, type Role } from '@lab/process';
import { Passwords } from '@lab/process/passwords';
import { makeApi } from '../src/shop/api.ts';
import { makeFrontend } from '../src/shop/frontend.ts';
import type { Serving } from '../src/shop/serving.ts';
import { standIns } from '../src/shop/stand-ins.ts';

/** Passwords of tests protect nothing. */
const cheapCost = { N: 2, r: 1, p: 1 };

const common = { host: '127.0.0.1', port: 0, clock: systemClock, log: silentLogger };

export async function startApi(
  name: string,
  databasePort: number,
  lameDuckMs = 0,
  services = standIns(Date.now),
  databaseHost = '127.0.0.1',
): Promise<Role & { readonly port: number }> {
  const api = await makeApi({
    ...common,
    name,
    lameDuckMs,
    mariadb: { host: databaseHost, port: databasePort, user: 'app', password: 'app', database: 'marketplace' },
    services,
    passwords: new Passwords(cheapCost),
  });
  await api.start();
  return api;
}

export async function startFrontend(name: string): Promise<Serving> {
  const frontend = await makeFrontend({ ...common, name, lameDuckMs: 0 });
  await frontend.start();
  return frontend;
}

/** What balancers do that the page can notice: one origin, in turn, and now and then an answer that gets lost. */
export class FrontDoor {
  /** Ports of the API's servers. */
  apis: readonly number[] = [];
  frontend = 0;
  /** Requests for which this holds are served, and their answers are thrown away. */
  losesAnswer: (request: IncomingMessage) => boolean = () => false;
  readonly #server: Server;
  #turn = 0;

  private constructor() {
    this.#server = createServer((incoming, answer) => this.#pass(incoming, answer));
  }

  static async open(): Promise<FrontDoor> {
    const door = new FrontDoor();
    door.#server.listen(0, '127.0.0.1');
    await once(door.#server, 'listening');
    return door;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  #pass(incoming: IncomingMessage, answer: ServerResponse): void {
    const isApi = incoming.url?.startsWith('/api/') === true;
    const port = isApi ? this.apis[this.#turn++ % this.apis.length]! : this.frontend;
    const { method, url: path, headers } = incoming;
    const onward = request({ port, host: '127.0.0.1', method, path, headers }, (served) => {
      if (this.losesAnswer(incoming)) return void incoming.socket.destroy();
      answer.writeHead(served.statusCode!, { ...served.headers, 'x-balancer': 'lb-1' });
      served.pipe(answer);
    });
    onward.on('error', () => answer.writeHead(503).end());
    incoming.pipe(onward);
  }
}
