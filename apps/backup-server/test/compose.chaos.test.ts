/**
 * Every role and RabbitMQ is killed, and a requester paused, in the middle of a transfer, in real containers. After each, the
 * backup succeeds, and every version that is listed restores to what the node had when it was made.
 */
import { eventually } from '@lab/testing';
import { rabbitmqFolder, type Container } from '@lab/testing/containers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { queueOf } from '../src/topology.ts';
import { BackupComposeSystem } from './compose-system.ts';

const path = 'tree of 2026';
/** So much is new each time: two seconds of transfer, to strike in. */
const freshMb = 160;
/** On a busy machine a look may take longer than a transfer. */
const transfersMax = 8;
const patience = { timeoutMs: 180_000, intervalMs: 200 };
/** A command waits for 20 s, on a busy machine its process takes a while. */
const commandMs = 40_000;

let system: BackupComposeSystem;
/** What the node had, for each version that may be made of it. */
const states = new Set<string>();

beforeAll(async () => {
  system = await BackupComposeSystem.start('chaos');
  await change(1);
  await system.admin('register', '--node', 'node-1', '--address', 'node-1:7600', '--path', path, '--every', '1h', '--keep', '6');
  await eventually(async () => (await task()).attempts > 0, patience);
}, 300_000);

afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

async function change(mb: number): Promise<void> {
  await system.onNode(
    `mkdir -p '${path}/sub/empty'; date +%N > '${path}/sub/now'; ln -sf now '${path}/sub/link'; head -c ${mb}M /dev/urandom > '${path}/random-$RANDOM'`,
  );
  states.add(await system.listed(path));
}

const task = async () => (await system.status()).tasks[0]!;

/** Begins a transfer; resolves when some of it is sent, with how many bytes. One that was over before it was seen is followed by another. */
async function beginTransfer(): Promise<number> {
  for (let begun = 1; begun <= transfersMax; begun++) {
    await system.onNode(`rm -f '${path}'/random-*`);
    await change(freshMb);
    const { attempts } = await task();
    await system.admin(
      'register',
      '--node',
      'node-1',
      '--address',
      'node-1:7600',
      '--path',
      path,
      '--every',
      '1h',
      '--keep',
      '6',
    );
    const seen = await eventually(
      async () => {
        const now = await task();
        return now.attempts === attempts ? now.current?.progress?.sentBytes : ('over' as const);
      },
      { timeoutMs: 120_000, intervalMs: 20 },
    );
    if (seen !== 'over') return seen!;
  }
  throw new Error(`${transfersMax} transfers of ${freshMb} MB were over before any was seen`);
}

/** Strikes when the transfer is under way, repairs, waits for the version, and compares all. */
async function expectAllVersionsWhole(strike: () => Promise<void>, repair: () => Promise<void>): Promise<void> {
  const sent = await beginTransfer();
  await strike();
  console.log(`struck after ${Math.round(sent / 1e6)} MB`);
  await repair();
  await eventually(async () => {
    const { last, current } = await task();
    return current === undefined && last?.result !== 'failed';
  }, patience);
  await system.admin('backup', '--node', 'node-1', '--path', path);
  const versions = await system.list();
  expect(versions.map(({ state }) => state)).toEqual(versions.map(() => 'whole'));
  expect(await system.restored(path, versions.at(-1)!.version)).toBe(await system.listed(path));
}

/** With FAULTS=all, as `nx chaos` sets it. Otherwise each kind of damage has its turn without these. */
const more = process.env['FAULTS'] === 'all' ? it : (): void => {};

const one = (service: string): Container => system.container(service);

describe('in the middle of a transfer', () => {
  it.each(['server', 'nodes-manager', 'rabbitmq', 'node-1'])('%s is killed and started again', async (service) => {
    const container = one(service);
    await expectAllVersionsWhole(
      () => container.kill(),
      () => container.start(),
    );
  });

  it('all requesters are killed and one is started again', async () => {
    const requesters = [1, 2].map((replica) => system.container('backup-requester', replica));
    await expectAllVersionsWhole(
      async () => void (await Promise.all(requesters.map((each) => each.kill()))),
      () => requesters[0]!.start(),
    );
    await requesters[1]!.start();
  });

  it('all requesters hang and thaw', async () => {
    const requesters = [1, 2].map((replica) => system.container('backup-requester', replica));
    await expectAllVersionsWhole(
      async () => void (await Promise.all(requesters.map((each) => each.pause()))),
      async () => void (await Promise.all(requesters.map((each) => each.unpause()))),
    );
  });

  const rabbitmqctl = (...args: readonly string[]): Promise<string> =>
    system.compose('exec', '-T', 'rabbitmq', 'rabbitmqctl', '--quiet', ...args);
  /** An admin's command that needs RabbitMQ is told that it is away, in time. */
  const expectRefused = async (): Promise<void> => {
    const begunMs = performance.now();
    await expect(system.admin('backup', '--node', 'node-1', '--path', path)).rejects.toMatchObject({ code: 3 });
    expect(performance.now() - begunMs, 'milliseconds until it was refused').toBeLessThan(commandMs);
  };

  more('RabbitMQ is away for half a minute, in which commands are refused', async () => {
    const container = one('rabbitmq');
    await expectAllVersionsWhole(
      async () => {
        await container.kill();
        for (const killedMs = performance.now(); performance.now() - killedMs < 30_000;) await expectRefused();
      },
      () => container.start(),
    );
  });

  it('RabbitMQ has no memory left, and then has again', async () => {
    await expectAllVersionsWhole(
      async () => {
        await rabbitmqctl('set_vm_memory_high_watermark', 'absolute', '1MB');
        await expectRefused();
      },
      async () => void (await rabbitmqctl('set_vm_memory_high_watermark', '0.4')),
    );
  });

  it('RabbitMQ is killed, and its disk is empty when it is back', async () => {
    const container = one('rabbitmq');
    await expectAllVersionsWhole(
      () => container.kill(),
      async () => {
        await container.empty(rabbitmqFolder);
        await container.start();
      },
    );
  });

  const deleted = (queue: string) => (): Promise<void> =>
    expectAllVersionsWhole(
      async () => void (await rabbitmqctl('delete_queue', queue)),
      async () => {},
    );

  it("the requesters' queue is deleted", deleted(queueOf.due));

  more("the nodes manager's queue of outcomes is deleted", deleted(queueOf.outcomes));

  more("the nodes manager's queue of commands is deleted", deleted(queueOf.commands));

  it('the node is cut off and comes back', async () => {
    const container = one('node-1');
    await expectAllVersionsWhole(
      () => container.partition(),
      () => container.heal(),
    );
  });
});

it('after all of that every listed version restores to what the node had at some time', async () => {
  const versions = await system.list();
  expect(versions.length).toBeGreaterThan(3);
  for (const { version } of versions) expect(states).toContain(await system.restored(path, version));
  expect(await system.admin('verify')).toMatchObject({ findings: [], damaged: [] });
});
