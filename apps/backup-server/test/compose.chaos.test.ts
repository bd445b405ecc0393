/**
 * Every role and RabbitMQ is killed, and a requester paused, in the middle of a transfer, in real containers. After each, the
 * backup succeeds, and every version that is listed restores to what the node had when it was made.
 */
import { eventually } from '@lab/testing';
import { rabbitmqFolder, type Container } from '@lab/testing/containers';
import { Load } from '@lab/testing/load';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { queueOf } from '../src/topology.ts';
import { BackupComposeSystem } from './compose-system.ts';
import { BackupLoad } from './load.ts';

/** So much is new each time. A transfer is seen where it takes a second: on a quicker machine it becomes more. */
let freshKb = 24 * 1024;
/** A command waits for 20 s, on a busy machine its process takes a while. */
const commandMs = 40_000;

let system: BackupComposeSystem;
let workload: BackupLoad;

beforeAll(async () => {
  system = await BackupComposeSystem.start('chaos');
  workload = new BackupLoad(system, { freshKb: () => freshKb, keep: 2 });
}, 300_000);

afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

/** Strikes when a transfer is under way, repairs, and compares all versions, that of the transfer too. */
async function expectAllVersionsWhole(strike: () => Promise<void>, repair: () => Promise<void>): Promise<void> {
  await using load = new Load(workload, { rate: 10, clients: 1 });
  let made = 0;
  const sentBytes = async (): Promise<number | undefined> => {
    if (load.counts.acknowledged > made) freshKb *= 2;
    made = load.counts.acknowledged;
    return (await system.look()).tasks.find(({ current }) => current?.progress)?.current?.progress?.sentBytes;
  };
  const sent = await eventually(sentBytes, { timeoutMs: 120_000, intervalMs: 20 });
  await strike();
  console.log(`struck after ${Math.round(sent! / 1e6)} MB`);
  await repair();
  const verdicts = await load.verdicts();
  // None is damaged.
  expect(verdicts.map(({ kept, detail }) => kept ?? detail)).toEqual([true, '0 of 0 versions listed as damaged', true]);
}

/** With CHAOS=all, as `nx chaos` sets it. Otherwise each kind of damage has its turn without these. */
const more = process.env['CHAOS'] === 'all' ? it : (): void => {};

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
    await expect(system.admin('backup', '--node', 'node-1', '--path', 'any')).rejects.toMatchObject({ code: 3 });
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

it('after all of that nothing is found that cannot be read', async () => {
  expect((await system.list()).length).toBeGreaterThan(3);
  expect(await system.admin('verify')).toMatchObject({ findings: [], damaged: [] });
});
