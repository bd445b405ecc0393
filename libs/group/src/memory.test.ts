import { check, counter } from '@lab/checker';
import { eventually, FakeClock, makeMutant } from '@lab/testing';
import { describe, expect, test } from 'vitest';
import { MemoryWorld } from '../test/memory-world.ts';
import { randomToken } from '../test/token.ts';
import { groupContract, type Fixture } from './contract.ts';
import { counterHistory } from './histories.ts';
import { makeMemoryGroups, type Features, type Group, type GroupEvent, type Replica, type ReplicaOptions } from './index.ts';

const features: Features = { history: true, primaryPartition: true, uniqueIds: true, bodyBytesMax: 16 * 1024 * 1024 };

async function makeFixture(): Promise<Fixture> {
  const world = new MemoryWorld();
  return {
    connect: async () => world.connect().group,
    kill: async (group) => world.kill(group),
    cut(group) {
      world.of(group).cable.cut();
      world.registry.cut(world.of(group).discovery);
    },
    heal(group) {
      world.of(group).cable.heal();
      world.registry.heal(world.of(group).discovery);
    },
    passTime: () => world.passTime(),
    stop: () => world.stop(),
  };
}

groupContract('in memory', features, makeFixture);

describe('the history of replicas', () => {
  test.each([
    {
      what: 'a member that answers before its place in the order',
      file: 'replica.ts',
      right: 'this.#submissions.set(number, submission);',
      wrong: "resolve(this.#options.machine.apply(Buffer.from(command), { id: '', name: '' }));",
    },
    {
      what: 'a command of an old leader that is refused, and counts',
      file: 'replication.ts',
      right: "this.#outcomes.push({ type: 'fenced', id });",
      wrong: "this.#options.machine.apply(parts.body, sender); this.#outcomes.push({ type: 'fenced', id });",
    },
  ])('shows $what', async ({ file, right, wrong }) => {
    using mutant = makeMutant(import.meta.dirname, { file, right, wrong });
    const { Replica: Mutant } = (await mutant.import('replica.ts')) as { Replica: new (options: ReplicaOptions) => Replica };
    const fixture = await makeFixture();
    const settle = async <Value>(promise: Promise<Value>): Promise<Value> => {
      let isSettled = false;
      const done = (): void => void (isSettled = true);
      promise.then(done, done);
      await eventually(async () => (await fixture.passTime!(), isSettled), { intervalMs: 0 });
      return promise;
    };
    const fates = {
      connect: () => fixture.connect(),
      kill: ({ group }: { group: Group }) => fixture.kill(group),
      cut: ({ group }: { group: Group }) => fixture.cut!(group),
      heal: ({ group }: { group: Group }) => fixture.heal!(group),
      settle,
    };
    const { history } = await counterHistory('mutants', fates, (options) => new Mutant(options));
    await fixture.stop();
    expect(check(counter, history).result).not.toBe('linearizable');
  });
});

describe('groups in memory', () => {
  test('processes of one host meet in a group, and those that close or are killed have left it', async () => {
    const clock = new FakeClock();
    const groups = makeMemoryGroups({ clock, newToken: randomToken });
    const [a, b, c] = [groups.connect(), groups.connect(), groups.connect()];
    expect(a.features).toEqual(features);
    const seen: GroupEvent[] = [];
    const membership = await a.join('chat', 'alice');
    void (async () => {
      for await (const event of membership) seen.push(event);
    })();
    const until = (probe: () => boolean): Promise<boolean> =>
      eventually(async () => (await clock.advanceAsync(50), probe()), { intervalMs: 0 });
    const members = (): string => {
      const view = seen.findLast((event) => event.type === 'view');
      return `${view?.cause} ${view?.members.map(({ name }) => name).join(' ')}`;
    };
    const bob = await b.join('chat', 'bob');
    void bob.multicast(Buffer.from('hello'));
    await until(() => seen.some((event) => event.type === 'message' && event.body.toString() === 'hello'));
    await c.join('chat', 'carol');
    await until(() => members() === 'join alice bob carol');
    await b.close();
    await until(() => members() === 'leave alice carol');
    groups.kill(c);
    await until(() => members() === 'disconnect alice');
    await a.close();
  });
});
