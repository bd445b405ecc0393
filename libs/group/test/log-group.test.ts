/** What the contract cannot do to a group: harm to its log, and to one of its two cables. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Follower } from '../src/contract.ts';
import { IndefiniteError, type GroupEvent, type Membership } from '../src/index.ts';
import { MemoryWorld } from './memory-world.ts';

describe('a group on a log', () => {
  let world: MemoryWorld;
  let followers: Follower[];
  beforeEach(() => {
    world = new MemoryWorld();
    followers = [];
  });
  afterEach(async () => {
    await Promise.all(followers.map(({ membership }) => membership.leave()));
    await world.stop();
  });

  const join = async (name: string): Promise<Follower> => {
    const { group } = world.connect();
    const follower = new Follower(group, await group.join('group', name));
    followers.push(follower);
    await world.until(() => follower.self !== undefined);
    return follower;
  };
  const kill = (follower: Follower): void => {
    followers = followers.filter((each) => each !== follower);
    world.kill(follower.group);
  };
  const settle = async <Value>(promise: Promise<Value>): Promise<Value> => {
    let isSettled = false;
    const done = (): void => void (isSettled = true);
    promise.then(done, done);
    await world.until(() => isSettled);
    return promise;
  };
  const members = ({ view }: Follower): number | undefined => view?.members.length;
  /** As when a broker has lost its disk. */
  const loseLog = async (): Promise<void> => {
    const { broker, discovery } = world.connect();
    const record = await discovery.record('group.group').read();
    await broker.remove({ log: (JSON.parse(record!.text) as { present: string }).present });
  };

  test('those who have read a log that is lost carry on from there, and newcomers with them', async () => {
    const [a, b] = [await join('a'), await join('b')];
    await settle(a.multicastAll(['one', 'two']));
    await world.until(() => b.messages.length === 2);
    await loseLog();
    await settle(b.multicast('three'));
    const c = await join('c');
    await world.until(() => [a, b, c].every((each) => members(each) === 3));
    expect(c.history.map((line) => line.split(' ').at(-1))).toEqual(['one', 'two', 'three']);
    for (const { history } of [a, b]) expect(history).toEqual(c.history);
  });

  test('a log that is lost after all who had read it begins anew with the next one', async () => {
    const a = await join('a');
    await settle(a.multicast('lost'));
    kill(a);
    await loseLog();
    const b = await join('b');
    expect([b.base?.state?.length, b.history]).toEqual([0, []]);
    await settle(b.multicast('new'));
    expect(b.bodies).toEqual(['new']);
  });

  for (const [whom, index] of [
    ['the oldest member', 0],
    ['the youngest member', 1],
  ] as const) {
    test(`${whom} is cut off from the broker alone: it gives its place up, and comes back when it hears itself again`, async () => {
      const both = [await join('a'), await join('b')];
      const [lost, other] = [both[index]!, both[1 - index]!];
      const before = lost.self;
      world.of(lost.group).cable.cut();
      const said = lost.tryAll(['said while cut off']);
      await world.until(() => members(other) === 1);
      await settle(other.multicast('meanwhile'));
      world.of(lost.group).cable.heal();
      await world.until(() => both.every((each) => members(each) === 2 && each.self !== before));
      await settle(said);
      expect(lost.resolved).toEqual(['said while cut off']);
      expect(lost.history).toEqual(other.history);
    });

    test(`${whom} is cut off from the registry alone: it reads on to its own removal, and comes back`, async () => {
      const both = [await join('a'), await join('b')];
      const [lost, other] = [both[index]!, both[1 - index]!];
      const before = lost.self;
      world.registry.cut(world.of(lost.group).discovery);
      await world.until(() => members(other) === 1 && members(lost) === 1);
      expect(lost.self).toBeUndefined();
      const said = lost.tryAll(['said while out']);
      await settle(other.multicast('meanwhile'));
      await world.until(() => lost.bodies.includes('meanwhile'));
      world.registry.heal(world.of(lost.group).discovery);
      await settle(said);
      expect([lost.bases, lost.self === before]).toEqual([1, false]);
      expect(lost.resolved).toEqual(['said while out']);
      expect(lost.history).toEqual(other.history);
    });
  }

  test('a writer of views whose application answers no checkpoint makes room for another', async () => {
    const { group } = world.connect();
    const idle = await group.join('group', 'idle');
    const events: GroupEvent[] = [];
    void take(idle, events);
    await world.until(() => events.some((event) => event.type === 'view' && event.self !== undefined));
    const [a, b] = [await join('a'), await join('b')];
    await settle(Promise.all(Array.from({ length: 40 }, () => a.membership.multicast(Buffer.alloc(16 * 1024)))));
    await world.until(() => events.some(({ type }) => type === 'checkpoint'));
    await world.until(() => a.checkpoints + b.checkpoints > 0);
    await settle(b.multicast('in the next log'));
    await world.until(() => a.history.length === 41);
    expect(a.history).toEqual(b.history);
    await idle.leave();
  });

  test('who was away for two logs begins anew, and what it sent then is indefinite or there', async () => {
    const [a, b] = [await join('a'), await join('b')];
    world.of(b.group).cable.cut();
    const sent = Array.from({ length: 5 }, (_, number) => `from afar ${number}`);
    const outcomes = Promise.allSettled(sent.map((text) => b.multicast(text)));
    for (let round = 0; round < 8; round++)
      await settle(Promise.all(Array.from({ length: 10 }, () => a.membership.multicast(Buffer.alloc(32 * 1024)))));
    await world.until(() => a.checkpoints >= 3 && members(a) === 1);
    world.of(b.group).cable.heal();
    await world.until(() => members(a) === 2 && members(b) === 2);
    expect(b.bases).toBeGreaterThan(1);
    const settled = await settle(outcomes);
    for (const outcome of settled) if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(IndefiniteError);
    await world.until(() => b.resolved.every((text) => a.bodies.includes(text)));
    await settle(b.multicast('back'));
    expect(b.history).toEqual(a.history);
  });
});

async function take(membership: Membership, events: GroupEvent[]): Promise<void> {
  for await (const event of membership) events.push(event);
}
