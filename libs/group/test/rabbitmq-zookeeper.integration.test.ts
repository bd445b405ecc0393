import { connectZookeeper } from '@lab/discovery';
import { connectRabbitmq } from '@lab/middleware';
import { eventually, startTcpProxy, type TcpProxy } from '@lab/testing';
import { startRabbitmq, startZookeeper, type RabbitmqServer, type ZookeeperServer } from '@lab/testing/containers';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Follower, groupContract, type Fixture } from '../src/contract.ts';
import { makeLogGroup, type Features, type Group } from '../src/index.ts';
import { systemClock } from '@lab/process/time';
import { randomToken } from './token.ts';

const features: Features = { history: true, primaryPartition: true, uniqueIds: true, bodyBytesMax: 16 * 1024 * 1024 };
const sessionTimeoutMs = 1_500;
/** RabbitMQ starts within 30 s, and all are back 10 s later. */
const patience = { timeoutMs: 90_000 };

let rabbitmq: RabbitmqServer;
let zookeeper: ZookeeperServer;
beforeAll(async () => void ([rabbitmq, zookeeper] = await Promise.all([startRabbitmq(), startZookeeper()])));
afterAll(() => Promise.all([rabbitmq[Symbol.asyncDispose](), zookeeper[Symbol.asyncDispose]()]));

/** One process's connections: its group, with cables of its own to both servers. */
interface Process {
  group: Group;
  proxies: readonly TcpProxy[];
  /** Ends what the connections do in this test's process, of which the servers hear nothing once the proxies are gone. */
  disconnect(): Promise<void>;
}

async function connectProcess(): Promise<Process> {
  const target = ({ port }: { port: number }) => ({ target: { host: '127.0.0.1', port } });
  const proxies = [await startTcpProxy(target(rabbitmq)), await startTcpProxy(target(zookeeper))] as const;
  const url = new URL(rabbitmq.url);
  url.port = String(proxies[0].port);
  const broker = await connectRabbitmq({ url: url.href });
  const discovery = await connectZookeeper({ servers: `127.0.0.1:${proxies[1].port}`, sessionTimeoutMs });
  return {
    group: makeLogGroup({ broker, discovery, clock: systemClock, newToken: randomToken }),
    proxies,
    disconnect: async () => void (await Promise.all([broker.close(), discovery.close()])),
  };
}

const unplug = ({ proxies }: Process): Promise<void[]> => Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));

async function makeFixture(): Promise<Fixture> {
  const processes = new Map<Group, Process>();
  return {
    async connect() {
      const process = await connectProcess();
      processes.set(process.group, process);
      return process.group;
    },
    async kill(group) {
      const process = processes.get(group)!;
      processes.delete(group);
      await unplug(process);
      void process.disconnect();
    },
    cut: (group) => processes.get(group)!.proxies.forEach((proxy) => proxy.cut()),
    heal: (group) => processes.get(group)!.proxies.forEach((proxy) => proxy.heal()),
    async stop() {
      await Promise.all([...processes.values()].map((process) => process.disconnect()));
      await Promise.all([...processes.values()].map(unplug));
    },
  };
}

groupContract('on rabbitmq and zookeeper', features, makeFixture);

describe('a group on rabbitmq and zookeeper', () => {
  const processes: Process[] = [];
  afterEach(async () => {
    const ended = processes.splice(0);
    await Promise.all(ended.map(({ group }) => group.close()));
    await Promise.all(ended.map((process) => process.disconnect()));
    await Promise.all(ended.map(unplug));
  });

  const join = async (groupName: string, name: string): Promise<Follower> => {
    const process = await connectProcess();
    processes.push(process);
    const follower = new Follower(process.group, await process.group.join(groupName, name));
    await eventually(() => follower.self !== undefined, patience);
    return follower;
  };

  test(
    'rabbitmq restarts and zookeeper hangs while three members send: nothing that resolved is lost, and all have one order',
    { timeout: 600_000 },
    async () => {
      const groupName = `g${randomToken()}`;
      const followers = [await join(groupName, 'a'), await join(groupName, 'b'), await join(groupName, 'c')];
      let isOver = false;
      const pump = async (follower: Follower, index: number): Promise<void> => {
        for (let number = 0; !isOver; number++) await follower.tryAll([`${index}.${number}`]);
      };
      const pumps = followers.map(pump);
      const resolved = (): string[] => followers.flatMap((follower) => follower.resolved);
      const goOn = async (count: number): Promise<void> => {
        const before = followers.map((follower) => follower.resolved.length);
        await eventually(
          () => followers.every((follower, index) => follower.resolved.length >= before[index]! + count),
          patience,
        );
      };
      await goOn(10);
      await rabbitmq.restart();
      await goOn(10);
      await zookeeper.pause();
      // Messages need no registry.
      await goOn(10);
      await zookeeper.unpause();
      await goOn(20);
      isOver = true;
      await Promise.all(pumps);
      expect(resolved().length).toBeGreaterThanOrEqual(200);
      const last = await join(groupName, 'd');
      const all = [...followers, last];
      await eventually(() => all.every(({ history }) => history.length === last.history.length), patience);
      for (const { history } of all) expect(history).toEqual(last.history);
      const texts = last.history.map((line) => line.split(' ').at(-1)!);
      expect(new Set(texts).size).toBe(texts.length);
      expect(resolved().filter((text) => !texts.includes(text))).toEqual([]);
      for (const [index] of followers.entries()) {
        const numbers = texts.filter((text) => text.startsWith(`${index}.`)).map((text) => Number(text.split('.')[1]));
        expect(numbers).toEqual(numbers.toSorted((x, y) => x - y));
      }
    },
  );
});
