/**
 * A group on RabbitMQ and ZooKeeper in containers: how soon a death is a view, what a newcomer reads, and how fast messages go. What dies are processes, by SIGKILL;
 * the other measurements have all their members in this process, each with its own connections.
 */
import { connectZookeeper } from '@lab/discovery';
import { connectRabbitmq, type Broker, type LogEntry } from '@lab/middleware';
import { eventually, explainBench, reportBench, type BenchRow } from '@lab/testing';
import { startRabbitmq, startZookeeper } from '@lab/testing/containers';
import { makeLogGroup, type Membership } from '../src/index.ts';
import { MemberProcess } from '../test/member-events.ts';
import { systemClock } from '@lab/process/time';
import { randomToken } from '../test/token.ts';

explainBench();

const sessionTimeoutMs = 1_500;
const patience = { timeoutMs: 60_000, intervalMs: 5 };

await using rabbitmq = await startRabbitmq();
await using zookeeper = await startZookeeper();

/** From the kill to the view without the victim at the last of the survivors; every second victim is the one that writes the views. */
async function measureCrashes(count: number): Promise<BenchRow> {
  const groupName = `g${randomToken()}`;
  const living = new Set<MemberProcess>();
  let names = 0;
  const add = (): void => {
    const settings = { rabbitmq: rabbitmq.url, zookeeper: zookeeper.address, groupName, name: `m${names++}`, sessionTimeoutMs };
    living.add(new MemberProcess({ ...settings, isSilent: true }, () => {}));
  };
  const agree = (): boolean =>
    [...living].every(
      ({ view }) => view?.self !== undefined && view.members.length === living.size && sameIds(view.members, living),
    );
  for (let member = 0; member < 4; member++) add();
  const seconds: number[] = [];
  for (let crash = 0; crash < count; crash++) {
    await eventually(agree, patience);
    const writer = [...living].reduce((one, other) => (one.writerEpoch > other.writerEpoch ? one : other));
    const victim = crash % 2 === 0 ? writer : [...living].find((member) => member !== writer)!;
    const killedMs = performance.now();
    living.delete(victim);
    const dead = victim.kill();
    await eventually(agree, patience);
    seconds.push((performance.now() - killedMs) / 1_000);
    await dead;
    add();
  }
  await eventually(agree, patience);
  await Promise.all([...living].map((member) => member.end()));
  const value = Math.max(...seconds);
  return { name: `crash to new view, worst of ${count}`, value, unit: 's', target: '<= 2', holds: value <= 2 };
}

function sameIds(ids: readonly string[], members: ReadonlySet<MemberProcess>): boolean {
  return [...members].every(({ self }) => self !== undefined && ids.includes(self));
}

/** A member whose state is always of one size, and which counts. */
class Fellow {
  readonly membership: Membership;
  /** Ends its connections too. */
  readonly stop: () => Promise<void>;
  readonly #read: { bytes: number };
  messages = 0;
  /** It is in the view. */
  isIn = false;

  private constructor(membership: Membership, read: { bytes: number }, stop: () => Promise<void>) {
    this.membership = membership;
    this.#read = read;
    this.stop = stop;
  }

  /** Of the entries of the log. */
  get bytesRead(): number {
    return this.#read.bytes;
  }

  static async start(groupName: string, stateBytes: number): Promise<Fellow> {
    const broker = await connectRabbitmq({ url: rabbitmq.url });
    const discovery = await connectZookeeper({ servers: zookeeper.address, sessionTimeoutMs });
    const read = { bytes: 0 };
    const group = makeLogGroup({ broker: countingReads(broker, read), discovery, clock: systemClock, newToken: randomToken });
    const stop = async (): Promise<void> => {
      await group.close();
      await Promise.all([broker.close(), discovery.close()]);
    };
    const fellow = new Fellow(await group.join(groupName, 'fellow'), read, stop);
    void fellow.#follow(Buffer.alloc(stateBytes, 'x'));
    return fellow;
  }

  async #follow(state: Buffer): Promise<void> {
    for await (const event of this.membership) {
      if (event.type === 'message') this.messages++;
      if (event.type === 'view') this.isIn = event.self !== undefined;
      if (event.type === 'checkpoint') event.save(state);
    }
  }
}

function countingReads(broker: Broker, read: { bytes: number }): Broker {
  const counting = (entries: AsyncIterableIterator<LogEntry>): AsyncIterableIterator<LogEntry> => {
    const next = async (): Promise<IteratorResult<LogEntry>> => {
      const result = await entries.next();
      if (result.done !== true) read.bytes += result.value.body.length;
      return result;
    };
    return { next, return: () => entries.return!(), [Symbol.asyncIterator]: () => counting(entries) };
  };
  return {
    ...{ features: broker.features, lost: broker.lost, incarnation: broker.incarnation.bind(broker) },
    ...{ publish: broker.publish.bind(broker), consume: broker.consume.bind(broker) },
    declare: (topology) => broker.declare(topology),
    append: (log, body) => broker.append(log, body),
    read: async (log, from) => counting(await broker.read(log, from)),
    remove: (what) => broker.remove(what),
    close: () => broker.close(),
  };
}

/** Thirteen newcomers, one after each 3 MiB of a history of 39: wherever the log is between two closes. */
async function measureNewcomers(name: string, stateBytes: number, target: string | null): Promise<BenchRow[]> {
  const groupName = `g${randomToken()}`;
  const fellow = await Fellow.start(groupName, stateBytes);
  const body = Buffer.alloc(16 * 1024);
  const worst = { bytes: 0, milliseconds: 0 };
  for (let newcomers = 0; newcomers < 13; newcomers++) {
    for (let sent = 0; sent < 3 * 1024 * 1024; sent += 4 * body.length)
      await Promise.all(Array.from({ length: 4 }, () => fellow.membership.multicast(body)));
    const startMs = performance.now();
    const newcomer = await Fellow.start(groupName, stateBytes);
    await eventually(() => newcomer.isIn, patience);
    worst.milliseconds = Math.max(worst.milliseconds, performance.now() - startMs);
    worst.bytes = Math.max(worst.bytes, newcomer.bytesRead);
    await newcomer.stop();
  }
  await fellow.stop();
  const what = `newcomer to a state of ${name} after up to 39 MiB, worst of 13`;
  const ratio = worst.bytes / stateBytes;
  return [
    target === null
      ? { name: `${what}: reads`, value: worst.bytes / 1024, unit: 'KiB', target, holds: null }
      : { name: `${what}: reads / state`, value: ratio, unit: 'x', target, holds: ratio <= 2 },
    { name: `${what}: is in after`, value: worst.milliseconds, unit: 'ms', target: null, holds: null },
  ];
}

async function measureMulticasts(): Promise<BenchRow[]> {
  const groupName = `g${randomToken()}`;
  const fellows = [await Fellow.start(groupName, 0), await Fellow.start(groupName, 0), await Fellow.start(groupName, 0)];
  await eventually(() => fellows.every(({ isIn }) => isIn), patience);
  const { membership } = fellows[0]!;
  const body = Buffer.alloc(1024, 'x');
  const milliseconds: number[] = [];
  for (let number = 0; number < 1_000; number++) {
    const startMs = performance.now();
    await membership.multicast(body);
    milliseconds.push(performance.now() - startMs);
  }
  const sorted = milliseconds.sort((x, y) => x - y);
  const messages = 20_000;
  const received = fellows.map((fellow) => fellow.messages);
  const startMs = performance.now();
  await Promise.all(fellows.flatMap((fellow) => windows(fellow.membership, body, messages / 3)));
  await eventually(
    () => fellows.every((fellow, index) => fellow.messages - received[index]! >= Math.floor(messages / 3) * 3),
    patience,
  );
  const speed = messages / ((performance.now() - startMs) / 1_000);
  await Promise.all(fellows.map((fellow) => fellow.stop()));
  const info = { target: null, holds: null };
  return [
    { name: 'multicast of 1 KiB, one at a time, p50', value: sorted[500]!, unit: 'ms', ...info },
    { name: 'multicast of 1 KiB, one at a time, p99', value: sorted[990]!, unit: 'ms', ...info },
    { name: 'multicasts of 1 KiB, 3 members send to all 3', value: speed, unit: 'messages/s', ...info },
  ];
}

/** So many messages, 200 in flight. */
function windows(membership: Membership, body: Buffer, messages: number): Promise<void>[] {
  let left = Math.floor(messages);
  const run = async (): Promise<void> => {
    while (left-- > 0) await membership.multicast(body);
  };
  return Array.from({ length: 200 }, run);
}

const rows: BenchRow[] = [await measureCrashes(20)];
rows.push(...(await measureNewcomers('4 MiB', 4 * 1024 * 1024, '<= 2')));
rows.push(...(await measureNewcomers('1 KiB', 1024, null)));
rows.push(...(await measureMulticasts()));
await reportBench(rows, process.argv);
