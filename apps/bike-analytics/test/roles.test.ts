/** Each role by itself: what it does when another instance of it runs, and when a queue is gone from which it takes. */
import { makeMemoryServer, TopologyError } from '@lab/middleware';
import { silentLogger, type Role } from '@lab/process';
import { eventually, FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { defaultSettings } from '../src/domain/queries.ts';
import { encode } from '../src/messages.ts';
import { queueOf, topology } from '../src/topology.ts';
import { roles, wire } from '../src/wiring.ts';
import { config } from './simulated-system.ts';

let instances = 0;

/** A system of its own, in which roles can be made; `queues` are those that they consume, `handled` those of each delivery. */
function makeSystem() {
  const server = makeMemoryServer();
  const clock = new FakeClock();
  const queues: string[] = [];
  const handled: string[] = [];
  const make = (name: string): Role => {
    const broker = server.connect();
    const consume = broker.consume.bind(broker);
    broker.consume = (queue, handler, options) => {
      queues.push(queue);
      return consume(queue, (delivery) => (handled.push(queue), handler(delivery)), options);
    };
    const listen = async (): Promise<{ close(): Promise<void> }> => ({ close: async () => undefined });
    const newInstance = (): string => `instance-${++instances}`;
    return wire(name, { clock, log: silentLogger, broker, countRows: () => undefined, newInstance, listen }, config);
  };
  return { server, clock, queues, handled, make };
}

const names = [...roles.keys()];
const many = { ...config, brokers: 2, filters: 2, tripsSolvers: 2 };
const single = names.filter((name) => many[roles.get(name)!.replicas] === 1);

describe('a role that runs once', () => {
  it.each(single)('%s is refused where another instance has its queues', async (name) => {
    const { clock, make } = makeSystem();
    await make(name).start();
    let outcome = '';
    make(name)
      .start()
      .then(
        () => (outcome = 'it runs'),
        (error: Error) => (outcome = error.message),
      );
    await eventually(() => (clock.advance(500), outcome), { intervalMs: 1 });
    expect(outcome).toContain('another instance is it');
  });
});

describe('a role whose queue is gone', () => {
  it.each(names)('%s fails, so that its host starts it again', async (name) => {
    const { queues, make } = makeSystem();
    await make(name).start();
    expect(queues).not.toEqual([]);
    for (const at of queues.keys()) {
      const own = makeSystem();
      const role = own.make(name);
      await role.start();
      let failure: unknown;
      role.failed!.catch((error: unknown) => (failure = error));
      await own.server.connect().remove({ queue: own.queues[at]! });
      await eventually(() => failure, { intervalMs: 1 });
      expect(failure).toBeInstanceOf(TopologyError);
      await role.stop();
    }
  });
});

it('the entry point removes the queues of shards that are no more', async () => {
  const { server, clock, make } = makeSystem();
  const broker = server.connect();
  await broker.declare(topology(config.tripsSolvers + 1));
  const surplus = queueOf.shard(4, config.tripsSolvers);
  expect(server.exists(surplus)).toBe(true);
  await make('entry-point').start();
  await eventually(() => (clock.advance(5_000), !server.exists(surplus)), { intervalMs: 1 });
  expect(server.exists(queueOf.shard(4, config.tripsSolvers - 1))).toBe(true);
});

it('a solver holds the part of a shard until it has all', async () => {
  const { server, handled, make } = makeSystem();
  await make('solver-1').start();
  const queue = queueOf.solver(1);
  for (const digit of [1, 2, 3]) {
    const session = `0000000${digit}-0000-4000-8000-000000000000`;
    const body = encode(
      { kind: 'partial', session, shards: 2, settings: defaultSettings, query: 1, shard: 0 },
      Buffer.from('{}'),
    );
    await server.connect().publish({ routingKey: queue, body });
    await eventually(() => handled.length === digit, { intervalMs: 1 });
  }
  expect(server.depth(queue)).toBe(3);
});
