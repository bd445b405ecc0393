/** What replicas of one counter answer while they are cut off and die: `@lab/checker` judges it. */
import { History, type CounterInput, type Operation } from '@lab/checker';
import { systemClock } from '@lab/process/time';
import type { Group } from './port.ts';
import type { Replica, ReplicaOptions } from './replica.ts';
import type { Machine } from './replication.ts';

/** What befalls the processes. */
export interface Fates {
  connect(): Promise<Group>;
  kill(of: { group: Group }): Promise<void>;
  cut(of: { group: Group }): void;
  heal(of: { group: Group }): void;
  /** As awaiting it, but time passes where it is the test's own. */
  settle<Value>(promise: Promise<Value>): Promise<Value>;
}

class Tally implements Machine {
  #total = 0;
  apply(): number {
    return ++this.#total;
  }
  viewChanged(): void {}
  snapshot(): Buffer {
    return Buffer.from(String(this.#total));
  }
  restore(snapshot: Buffer): void {
    this.#total = Number(snapshot.toString());
  }
}

interface Copy {
  readonly name: string;
  readonly group: Group;
  readonly replica: Replica;
  /** In which it leads, or has led last. */
  epoch: number | undefined;
}

/**
 * Three members count at once, some of it as leaders; the leader is cut off until another leads, and comes back; one is killed; a newcomer counts last. `fenced` is how
 * many counts an old leader was refused.
 */
export async function counterHistory(
  groupName: string,
  fates: Fates,
  makeReplica: (options: ReplicaOptions) => Replica,
): Promise<{ history: Operation<CounterInput, number>[]; fenced: number }> {
  const history = new History<CounterInput, number>(systemClock);
  let fenced = 0;
  const start = async (name: string): Promise<Copy> => {
    const group = await fates.connect();
    const token = crypto.randomUUID();
    const replica = makeReplica({ group, groupName, name, machine: new Tally(), isCandidate: () => true, token });
    await fates.settle(replica.start());
    return { name, group, replica, epoch: undefined };
  };
  /** A fenced count surely did not happen; of others that fail nobody knows. */
  const isFenced = (error: unknown): boolean => (error as Error).name === 'FencedError';
  const countOnce = async (copy: Copy, epoch: number | undefined): Promise<void> => {
    const submit = (): Promise<number> => copy.replica.submit(Buffer.from('one'), epoch) as Promise<number>;
    try {
      await history.record(copy.name, { op: 'add', amount: 1 }, submit, isFenced);
    } catch (error) {
      if (isFenced(error)) fenced++;
      else if ((error as Error).name !== 'IndefiniteError') throw error;
    }
  };
  /** One as anybody, and one as the leader that it is or was. */
  const count = async (copy: Copy, rounds: number): Promise<void> => {
    for (let round = 0; round < rounds; round++) {
      copy.epoch = copy.replica.leads ?? copy.epoch;
      await Promise.all([countOnce(copy, undefined), countOnce(copy, copy.epoch)]);
    }
  };
  const copies = [await start('a'), await start('b'), await start('c')] as const;
  const [a, b, c] = copies;
  await fates.settle(Promise.all(copies.map((copy) => count(copy, 10))));
  const cutOff = count(a, 5);
  fates.cut(a);
  while (b.replica.leads === undefined) await fates.settle(Promise.all([count(b, 1), count(c, 1)]));
  fates.heal(a);
  await fates.settle(Promise.all([cutOff, ...copies.map((copy) => count(copy, 10))]));
  void count(b, 5);
  await fates.kill(b);
  await fates.settle(Promise.all([count(a, 10), count(c, 10)]));
  await fates.settle(count(await start('d'), 1));
  return { history: history.operations, fenced };
}
