/** Replicas over groups in memory: the same state at all, one leader at a time, and what an old one says does not count. */
import { eventually, FakeClock } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FencedError, makeMemoryGroups, Replica, type Group, type Machine, type MemoryGroups } from '../src/index.ts';
import { randomToken } from './token.ts';

class Journal implements Machine {
  lines: string[] = [];
  apply(command: Buffer): number {
    return this.lines.push(command.toString());
  }
  viewChanged(): void {}
  snapshot(): Buffer {
    return Buffer.from(JSON.stringify(this.lines));
  }
  restore(snapshot: Buffer): void {
    this.lines = snapshot.length === 0 ? [] : (JSON.parse(snapshot.toString()) as string[]);
  }
}

interface Copy {
  group: Group;
  journal: Journal;
  replica: Replica;
}

describe('replicas', () => {
  let clock: FakeClock;
  let groups: MemoryGroups;
  let copies: Copy[];
  beforeEach(() => {
    clock = new FakeClock();
    groups = makeMemoryGroups({ clock, newToken: randomToken, closeBytes: 2_000 });
    copies = [];
  });
  afterEach(() => Promise.all(copies.map(({ group }) => group.close())));

  const until = (probe: () => boolean): Promise<boolean> =>
    eventually(async () => (await clock.advanceAsync(50), probe()), { intervalMs: 0 });
  const settle = async <Value>(promise: Promise<Value>): Promise<Value> => {
    let isSettled = false;
    const done = (): void => void (isSettled = true);
    promise.then(done, done);
    await until(() => isSettled);
    return promise;
  };
  const start = async (name: string, isCandidate = (): boolean => true): Promise<Copy> => {
    const [group, journal] = [groups.connect(), new Journal()];
    const replica = new Replica({ group, groupName: 'journal', name, machine: journal, isCandidate, token: randomToken() });
    const copy = { group, journal, replica };
    copies.push(copy);
    await settle(replica.start());
    return copy;
  };
  const kill = ({ group }: Copy): void => {
    copies = copies.filter((copy) => copy.group !== group);
    groups.kill(group);
  };
  const say = (copy: Copy, line: string, epoch?: number): Promise<unknown> =>
    settle(copy.replica.submit(Buffer.from(line), epoch));
  const allHave = (lines: readonly string[]): Promise<boolean> =>
    until(() => copies.every(({ journal }) => journal.lines.join() === lines.join()));

  test('a command resolves with what it returned here, and all have it', async () => {
    const [a, b] = [await start('a'), await start('b')];
    expect([await say(a, 'one'), await say(b, 'two')]).toEqual([1, 2]);
    await allHave(['one', 'two']);
  });

  test('a newcomer counts the leadership as the others do', async () => {
    const a = await start('a');
    for (const name of ['b', 'c', 'd']) await start(name);
    await until(() => copies.every(({ replica }) => replica.view?.members.length === 4));
    for (const { replica } of copies) expect(replica.leadership).toEqual(a.replica.leadership);
    await say(a, 'as leader', a.replica.leads);
    await allHave(['as leader']);
  });

  test('when the leader dies the next oldest leads, in a higher epoch', async () => {
    const [a, b] = [await start('a'), await start('b'), await start('c')];
    const before = a.replica.leads!;
    kill(a);
    await until(() => b.replica.leads !== undefined);
    expect(b.replica.leads).toBeGreaterThan(before);
    await say(b, 'as the new leader', b.replica.leads);
    await allHave(['as the new leader']);
  });

  test('what is said in an epoch that has passed is fenced at all, as is what others say in the present one', async () => {
    const [a, b, c] = [await start('a'), await start('b'), await start('c')];
    const before = a.replica.leads;
    await settle(a.replica.stop());
    await until(() => b.replica.leads !== undefined);
    await expect(say(b, 'too late', before)).rejects.toThrow(FencedError);
    await expect(say(c, 'not the leader', b.replica.leads)).rejects.toThrow(FencedError);
    await say(c, 'anybody may', undefined);
    expect([b.journal.lines, c.journal.lines]).toEqual([['anybody may'], ['anybody may']]);
  });

  test('the state outlives checkpoints, and all members', async () => {
    const lines: string[] = [];
    for (const name of ['a', 'b', 'c']) {
      const copy = await start(name);
      await allHave(lines);
      for (let number = 0; number < 40; number++) {
        lines.push(`${name}${number}`);
        await say(copy, lines.at(-1)!);
      }
      kill(copy);
    }
    const last = await start('last');
    expect(last.journal.lines).toEqual(lines);
  });
});
