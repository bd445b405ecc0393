/**
 * Real services for tests, in containers that go with the test. Apart from `@lab/testing`, so that a unit test loads nothing of Docker.
 *
 * Testcontainers' own reaper stays off: its image comes from a registry that tests must not depend on. Instead each container carries the
 * process that it belongs to, and whoever starts one removes those whose process is gone.
 */
import { createServer } from 'node:net';
import { once } from 'node:events';
import { hostname } from 'node:os';
import { GenericContainer, Wait } from 'testcontainers';
import { serviceImage } from '../../../docker/images.ts';
import { Container, docker } from './faults.ts';

export { Container, kernelHasNetem } from './faults.ts';

process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';

const ownerLabel = 'lab.test-owner';
/** Cold, on two busy cores, RabbitMQ takes 15 s; its image is built before this begins. */
const startMs = 120_000;

/** A RabbitMQ of a test: its own, empty, with all faults of a container. Dispose of it (`await using`) and its data is gone too. */
export class RabbitmqServer extends Container implements AsyncDisposable {
  /** Stays the same through `stop`, `kill` and `start`. */
  readonly port: number;
  constructor(id: string, port: number) {
    super(id);
    this.port = port;
  }

  /** For amqplib, with an account that may do everything. */
  get url(): string {
    return `amqp://lab:lab@127.0.0.1:${this.port}`;
  }

  /** Stops in good order, as for an upgrade, and starts again; resolves when it takes connections. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await docker('rm', '--force', '--volumes', this.id);
  }
}

/** Starts a RabbitMQ; resolves when it takes connections. Its image is built when it is not there. */
export async function startRabbitmq(): Promise<RabbitmqServer> {
  await removeLeftovers();
  const port = await freePort();
  const container = await new GenericContainer(await serviceImage('rabbitmq'))
    .withEnvironment({ RABBITMQ_DEFAULT_USER: 'lab', RABBITMQ_DEFAULT_PASS: 'lab' })
    // A port that Docker chooses is another one after each start; clients under test must find the server where it was.
    .withExposedPorts({ container: 5672, host: port })
    .withLabels({ [ownerLabel]: `${hostname()}:${process.pid}` })
    .withWaitStrategy(Wait.forHealthCheck())
    .withStartupTimeout(startMs)
    .start();
  return new RabbitmqServer(container.getId(), port);
}

/** Removes containers of test processes of this machine that have ended without doing so: killed ones, mostly. */
async function removeLeftovers(): Promise<void> {
  const list = await docker('ps', '--all', '--filter', `label=${ownerLabel}`, '--format', `{{.ID}} {{.Label "${ownerLabel}"}}`);
  const leftovers = list.split('\n').flatMap((line) => {
    const [id, owner = ''] = line.split(' ');
    const [machine, pid] = owner.split(':');
    return id && machine === hostname() && !isAlive(Number(pid)) ? [id] : [];
  });
  // Another process may remove the same ones at this moment.
  if (leftovers.length > 0) await docker('rm', '--force', '--volumes', ...leftovers).catch(() => undefined);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('the system gave no port');
  return address.port;
}
