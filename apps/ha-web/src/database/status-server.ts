/** `GET /status` of a db-agent, as JSON; `POST /takeover` from this machine only: its operator wants it to be the primary. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Role } from '@lab/process';
import type { AgentStatus } from './domain/agent-status.ts';

export interface StatusServerOptions {
  readonly port: number;
  readonly status: () => AgentStatus;
  readonly takeOver: () => void;
}

/** Two balancers, the other agent, an operator; each asks again and again. */
const connectionsMax = 32;

export class AgentStatusServer implements Role {
  readonly #options: StatusServerOptions;
  readonly #server = createServer((request, response) => this.#answer(request, response));

  constructor(options: StatusServerOptions) {
    this.#options = options;
    this.#server.maxConnections = connectionsMax;
  }

  async start(): Promise<void> {
    await once(this.#server.listen(this.#options.port), 'listening');
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #answer({ method, url, socket }: IncomingMessage, response: ServerResponse): void {
    const local = /^(::ffff:)?127\./.test(socket.remoteAddress ?? '');
    if (method === 'GET' && url === '/status') {
      response.setHeader('content-type', 'application/json').end(`${JSON.stringify(this.#options.status())}\n`);
    } else if (method === 'POST' && url === '/takeover' && local) {
      this.#options.takeOver();
      response.writeHead(202).end();
    } else response.writeHead(404).end('there is GET /status\n');
  }
}
