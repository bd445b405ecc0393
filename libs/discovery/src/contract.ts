/** What every adapter must do, as tests. An adapter's own test is a fixture and a call of `discoveryContract`. */
import { assertLinearizable, lock } from '@lab/checker';
import { eventually } from '@lab/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { leaderHistory, recordHistory, recordModel, type Fates } from './histories.ts';
import { UnavailableError, type Discovery, type Instance, type Leadership, type RecordState } from './port.ts';

export interface Fixture {
  /** A session of its own, as another process would have. */
  connect(): Promise<Discovery>;
  /** Nothing passes between this one and the registry from now on. */
  cut(discovery: Discovery): void;
  heal(discovery: Discovery): void;
  /** What a SIGKILL of the process that has this session is to the registry. */
  crash(discovery: Discovery): Promise<void>;
  /** Where time is the test's own: lets some of it pass, less than a tenth of a session's timeout. */
  passTime?: () => Promise<void>;
  stop(): Promise<void>;
}

/** A session ends within 2 s; finding a new leader for the servers has taken 10. */
const timeoutMs = 30_000;

let names = 0;
const run = crypto.randomUUID().slice(0, 8);
/** Registries keep what they hold from one run to the next, so every test has names of its own. */
const fresh = (what: string): string => `contract.${run}.${what}-${names++}`;

const sequencesOf = (instances: readonly Instance[]): number[] => instances.map(({ sequence }) => sequence);
const ids = (instances: readonly Instance[]): unknown[] => instances.map(({ endpoint }) => endpoint['id']);

/** Keeps what an iterator gives. */
function collect<Value>(iterator: AsyncIterableIterator<Value>): { seen: Value[]; ended: () => boolean } {
  const seen: Value[] = [];
  let ended = false;
  const read = async (): Promise<void> => {
    for await (const value of iterator) seen.push(value);
    ended = true;
  };
  void read();
  return { seen, ended: () => ended };
}

/** Runs the contract against an adapter. */
export function discoveryContract(name: string, makeFixture: () => Promise<Fixture>): void {
  describe(`the contract of discovery: ${name}`, { timeout: 60_000 }, () => {
    let fixture: Fixture;
    const open = new Set<Discovery>();

    const connect = async (): Promise<Discovery> => {
      const discovery = await fixture.connect();
      open.add(discovery);
      return discovery;
    };
    const crash = async (discovery: Discovery): Promise<void> => {
      open.delete(discovery);
      await fixture.crash(discovery);
    };
    // Where time is the test's own nothing but work takes any.
    const patience = (): { timeoutMs: number; intervalMs: number } => ({ timeoutMs, intervalMs: fixture.passTime ? 0 : 5 });
    const until = (probe: () => boolean | Promise<boolean>): Promise<boolean> =>
      eventually(async () => {
        await fixture.passTime?.();
        return probe();
      }, patience());
    /** As awaiting it, but time passes. */
    const settle = async <Value>(promise: Promise<Value>): Promise<Value> => {
      let isSettled = false;
      const done = (): void => void (isSettled = true);
      promise.then(done, done);
      await until(() => isSettled);
      return promise;
    };
    const leads = async (discovery: Discovery, role: string): Promise<Leadership> => settle(discovery.elect(role, 'candidate'));

    const fates: Fates = {
      ...{ connect, crash, settle },
      cut: (discovery) => fixture.cut(discovery),
      heal: (discovery) => fixture.heal(discovery),
    };

    beforeAll(async () => void (fixture = await makeFixture()));
    afterEach(async () => {
      for (const discovery of open) fixture.heal(discovery);
      await Promise.all([...open].map((discovery) => discovery.close()));
      open.clear();
    });
    afterAll(() => fixture.stop());

    describe('services', () => {
      test('all find what was announced once that has resolved, as it was announced, and oldest first', async () => {
        const [a, b] = [await connect(), await connect()];
        const service = fresh('service');
        expect(await a.list(service)).toEqual([]);
        const first = await a.announce(service, { id: 'é', port: 8080, spare: false });
        const second = await b.announce(service, { id: 'b' });
        const both = [
          { sequence: first.sequence, endpoint: { id: 'é', port: 8080, spare: false } },
          { sequence: second.sequence, endpoint: { id: 'b' } },
        ];
        expect(await a.list(service)).toEqual(both);
        expect(await b.list(service)).toEqual(both);
        expect(second.sequence).toBeGreaterThan(first.sequence);
      });

      test('a hundred that are announced at once all have a place, and each its own', async () => {
        const some = await Promise.all(Array.from({ length: 4 }, connect));
        const service = fresh('service');
        const announced = await Promise.all(Array.from({ length: 100 }, (_, id) => some[id % 4]!.announce(service, { id })));
        const places = announced.map(({ sequence }) => sequence).sort((x, y) => x - y);
        expect(new Set(places).size).toBe(100);
        expect(sequencesOf(await some[0]!.list(service))).toEqual(places);
      });

      test('no one finds what was withdrawn, and its sequence is not used again', async () => {
        const [a, b] = [await connect(), await connect()];
        const service = fresh('service');
        const first = await a.announce(service, { id: 'first' });
        const last = await a.announce(service, { id: 'last' });
        await last.withdraw();
        await last.withdraw();
        expect(ids(await b.list(service))).toEqual(['first']);
        await first.withdraw();
        expect(await b.list(service)).toEqual([]);
        expect((await b.announce(service, { id: 'next' })).sequence).toBeGreaterThan(last.sequence);
      });

      test('a watch begins with the present set and shows what follows; the last set is never left out', async () => {
        const [a, b] = [await connect(), await connect()];
        const service = fresh('service');
        const empty = collect(b.watch(service));
        await until(() => empty.seen.length > 0);
        expect(empty.seen).toEqual([[]]);
        const announced = [await a.announce(service, { id: 0 }), await a.announce(service, { id: 1 })];
        const { seen } = collect(b.watch(service));
        await until(() => seen.length > 0);
        expect(ids(seen[0]!)).toEqual([0, 1]);
        await announced[0]!.withdraw();
        for (let id = 2; id < 10; id++) await a.announce(service, { id });
        await until(() => ids(seen.at(-1)!).join() === '1,2,3,4,5,6,7,8,9');
        await until(() => ids(empty.seen.at(-1)!).join() === '1,2,3,4,5,6,7,8,9');
      });

      test('what a process sees by list and watch together never goes back', async () => {
        const [watcher, ...others] = await Promise.all(Array.from({ length: 4 }, connect));
        const service = fresh('service');
        const gone = new Set<number>();
        const wrong: string[] = [];
        let present: readonly number[] = [];
        let newest = -1;
        const observe = (instances: readonly Instance[]): void => {
          const now = sequencesOf(instances);
          for (const sequence of now) if (gone.has(sequence)) wrong.push(`${sequence} came back`);
          for (const sequence of now) if (!present.includes(sequence) && sequence <= newest) wrong.push(`${sequence} came late`);
          for (const sequence of present) if (!now.includes(sequence)) gone.add(sequence);
          newest = Math.max(newest, ...now);
          present = now;
        };
        const watching = (async () => {
          for await (const instances of watcher!.watch(service)) observe(instances);
        })();
        let isOver = false;
        const listing = (async () => {
          while (!isOver) observe(await watcher!.list(service));
        })();
        const churn = async (discovery: Discovery): Promise<void> => {
          for (let id = 0; id < 20; id++) await (await discovery.announce(service, { id })).withdraw();
        };
        await Promise.all(others.map(churn));
        isOver = true;
        await listing;
        await watcher!.close();
        await watching;
        expect(wrong).toEqual([]);
        expect(newest).toBeGreaterThan(30);
      });

      test('what a closed one announced is gone when its close has resolved', async () => {
        const [a, b] = [await connect(), await connect()];
        const service = fresh('service');
        const { seen } = collect(b.watch(service));
        await a.announce(service, { id: 'a' });
        await b.announce(service, { id: 'b' });
        await a.close();
        expect(ids(await b.list(service))).toEqual(['b']);
        await until(() => ids(seen.at(-1) ?? []).join() === 'b');
      });

      test('what a crashed one announced is gone after the timeout of its session', async () => {
        const [a, b] = [await connect(), await connect()];
        const service = fresh('service');
        await a.announce(service, { id: 'a' });
        await b.announce(service, { id: 'b' });
        const { seen } = collect(b.watch(service));
        await until(() => seen.length > 0);
        await crash(a);
        expect(ids(await b.list(service))).toEqual(['a', 'b']);
        await until(() => ids(seen.at(-1)!).join() === 'b');
        expect(ids(await b.list(service))).toEqual(['b']);
      });

      test('a lost session is followed by a new one, in which all is announced again and watched on', async () => {
        const [a, b] = [await connect(), await connect()];
        const service = fresh('service');
        const renewed: number[] = [];
        const announcement = await a.announce(service, { id: 'a' }, { onRenewed: (sequence) => renewed.push(sequence) });
        const before = announcement.sequence;
        const withdrawn = await a.announce(service, { id: 'withdrawn' });
        await withdrawn.withdraw();
        const [atA, atB] = [collect(a.watch(service)).seen, collect(b.watch(service)).seen];
        await until(() => atA.length > 0 && atB.length > 0);
        fixture.cut(a);
        await until(() => atB.at(-1)!.length === 0);
        await b.announce(service, { id: 'b' });
        fixture.heal(a);
        await until(() => renewed.length > 0);
        expect(renewed).toEqual([announcement.sequence]);
        expect(announcement.sequence).toBeGreaterThan(before);
        expect(ids(await a.list(service))).toEqual(['b', 'a']);
        await until(() => ids(atA.at(-1)!).join() === 'b,a' && ids(atB.at(-1)!).join() === 'b,a');
      });

      test('a cut that is shorter than the session changes nothing but what was missed', async () => {
        const [a, b] = [await connect(), await connect()];
        const service = fresh('service');
        let renewals = 0;
        await a.announce(service, { id: 'a' }, { onRenewed: () => renewals++ });
        const { seen } = collect(a.watch(service));
        await until(() => seen.length > 0);
        fixture.cut(a);
        await b.announce(service, { id: 'b' });
        await fixture.passTime?.();
        expect(ids(seen.at(-1)!)).toEqual(['a']);
        fixture.heal(a);
        await until(() => ids(seen.at(-1)!).join() === 'a,b');
        expect(renewals).toBe(0);
      });

      test('what was withdrawn while cut off is not announced again', async () => {
        const [a, b] = [await connect(), await connect()];
        const service = fresh('service');
        const announcement = await a.announce(service, { id: 'a' });
        await a.announce(service, { id: 'stays' });
        fixture.cut(a);
        await settle(announcement.withdraw());
        await until(async () => (await b.list(service)).length === 0);
        fixture.heal(a);
        await until(async () => ids(await b.list(service)).join() === 'stays');
      });

      test('without contact a call fails after its deadline, and what it asked for is not done later', async () => {
        const [a, b] = [await connect(), await connect()];
        const service = fresh('service');
        fixture.cut(a);
        const calls = [a.announce(service, { id: 'late' }), a.list(service), a.record(fresh('record')).read()];
        const outcomes = await settle(Promise.allSettled(calls));
        for (const outcome of outcomes)
          expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(UnavailableError) as unknown });
        fixture.heal(a);
        await a.announce(service, { id: 'present' });
        await until(async () => ids(await b.list(service)).join() === 'present');
      });

      test('a call that waits for contact goes on when there is some', async () => {
        const a = await connect();
        const service = fresh('service');
        fixture.cut(a);
        const announced = a.announce(service, { id: 'a' });
        fixture.heal(a);
        await settle(announced);
        expect(ids(await a.list(service))).toEqual(['a']);
      });

      test('an endpoint that would not come back as it was, or is too large, is refused', async () => {
        const a = await connect();
        const service = fresh('service');
        await expect(a.announce(service, { port: Number.NaN })).rejects.toThrow(RangeError);
        await expect(a.announce(service, { text: 'x'.repeat(64 * 1024) })).rejects.toThrow(/65536 bytes/);
        await a.announce(service, { text: 'x'.repeat(64 * 1024 - 11) });
      });
    });

    describe('leadership', () => {
      test('one leads at a time, the one that has waited longest next, and epochs grow', async () => {
        const some = await Promise.all(Array.from({ length: 3 }, connect));
        const role = fresh('role');
        const order: number[] = [];
        const epochs: number[] = [];
        let leading = 0;
        const terms: Promise<void>[] = [];
        const first = await leads(some[0]!, role);
        for (const [index, discovery] of [...some, ...some].entries()) {
          const elected = discovery.elect(role, `candidate ${index}`);
          const term = async (): Promise<void> => {
            const leadership = await elected;
            expect(++leading).toBe(1);
            order.push(index);
            epochs.push(leadership.epoch);
            leading--;
            await leadership.resign();
          };
          terms.push(term());
          // Something that comes after it shows that it is in the line.
          await discovery.list(role);
        }
        expect(order).toEqual([]);
        await first.resign();
        await settle(Promise.all(terms));
        expect(order).toEqual([0, 1, 2, 3, 4, 5]);
        expect([first.epoch, ...epochs]).toEqual([first.epoch, ...epochs].toSorted((x, y) => x - y));
        expect(new Set([first.epoch, ...epochs]).size).toBe(7);
      });

      test('lost resolves on resigning and on closing', async () => {
        const [a, b] = [await connect(), await connect()];
        const role = fresh('role');
        const first = await leads(a, role);
        await first.resign();
        await first.lost;
        const second = await leads(a, role);
        const next = b.elect(role, 'b');
        await a.close();
        await second.lost;
        expect((await settle(next)).epoch).toBeGreaterThan(second.epoch);
      });

      test('a leader that is cut off knows that it has lost BEFORE another is elected, and may lead again later', async () => {
        const [a, b] = [await connect(), await connect()];
        const role = fresh('role');
        const events: string[] = [];
        const first = await leads(a, role);
        void first.lost.then(() => events.push('lost'));
        const next = b.elect(role, 'b').then((leadership) => (events.push('elected'), leadership));
        await b.list(role);
        fixture.cut(a);
        const second = await settle(next);
        expect(events).toEqual(['lost', 'elected']);
        expect(second.epoch).toBeGreaterThan(first.epoch);
        const third = a.elect(role, 'a');
        fixture.heal(a);
        await second.resign();
        expect((await settle(third)).epoch).toBeGreaterThan(second.epoch);
      });

      test('a leader that crashes is followed by the next', async () => {
        const [a, b] = [await connect(), await connect()];
        const role = fresh('role');
        const first = await leads(a, role);
        const next = b.elect(role, 'b');
        await crash(a);
        expect((await settle(next)).epoch).toBeGreaterThan(first.epoch);
      });

      test('a leadership that was lost without contact is free again, even where the session lived on', async () => {
        const [a, b] = [await connect(), await connect()];
        const role = fresh('role');
        const first = await leads(a, role);
        const next = b.elect(role, 'b');
        fixture.cut(a);
        await settle(first.lost);
        fixture.heal(a);
        expect((await settle(next)).epoch).toBeGreaterThan(first.epoch);
      });

      test('a candidate whose session is lost waits on in the next one', async () => {
        const [a, b] = [await connect(), await connect()];
        const [role, service] = [fresh('role'), fresh('service')];
        const first = await leads(a, role);
        await b.announce(service, { id: 'b' });
        const waiting = b.elect(role, 'b');
        await b.list(role);
        fixture.cut(b);
        await until(async () => (await a.list(service)).length === 0);
        fixture.heal(b);
        await first.resign();
        expect((await settle(waiting)).epoch).toBeGreaterThan(first.epoch);
      });

      test('a role is a lock, whose holders resign, are cut off and crash', async () => {
        const history = await leaderHistory(fresh('role'), fates);
        assertLinearizable(lock, history);
        const answered = history.filter(({ answer }) => answer !== undefined);
        // Three terms of each process, two leaders that fall, and three terms of each of those who remain, twice.
        expect(answered.filter(({ input }) => input.op === 'acquire')).toHaveLength(12 + 2 + 9 + 9);
        expect(history.length - answered.length, 'leaderships that were not resigned').toBe(2);
      });

      test('an aborted candidacy rejects with the reason and stands in nobody’s way', async () => {
        const [a, b, c] = [await connect(), await connect(), await connect()];
        const role = fresh('role');
        const first = await leads(a, role);
        const abort = new AbortController();
        const aborted = b.elect(role, 'b', { signal: abort.signal });
        await b.list(role);
        const next = c.elect(role, 'c');
        await c.list(role);
        abort.abort(new Error('no longer wanted'));
        await expect(settle(aborted)).rejects.toThrow('no longer wanted');
        await first.resign();
        await settle(next);
        await expect(b.elect(role, 'b', { signal: abort.signal })).rejects.toThrow('no longer wanted');
      });

      test('aborting after the election changes nothing', async () => {
        const [a, b] = [await connect(), await connect()];
        const role = fresh('role');
        const abort = new AbortController();
        const leadership = await settle(a.elect(role, 'a', { signal: abort.signal }));
        let isLost = false;
        void leadership.lost.then(() => (isLost = true));
        abort.abort();
        await b.list(role);
        expect(isLost).toBe(false);
      });
    });

    describe('records', () => {
      test('a record is written by compare-and-set only, and all read what was written', async () => {
        const [a, b] = [await connect(), await connect()];
        const name = fresh('record');
        const [atA, atB] = [a.record(name), b.record(name)];
        expect(await atA.read()).toBeUndefined();
        expect(await atA.write('too early', 3)).toBeUndefined();
        const first = await atA.write('one\ntwo é', undefined);
        expect(await atB.read()).toEqual({ text: 'one\ntwo é', version: first });
        expect(await atB.write('not the first', undefined)).toBeUndefined();
        const second = await atB.write('', first);
        expect(second).toBeGreaterThan(first!);
        expect(await atA.write('stale', first)).toBeUndefined();
        expect(await atA.read()).toEqual({ text: '', version: second });
        await expect(atA.write('x'.repeat(64 * 1024 + 1), second)).rejects.toThrow(RangeError);
      });

      test('of writers that race for a version exactly one wins', async () => {
        const some = await Promise.all(Array.from({ length: 5 }, connect));
        const name = fresh('record');
        let version: number | undefined;
        for (let round = 0; round < 5; round++) {
          const racing = some.map((discovery, writer) => discovery.record(name).write(`${round}.${writer}`, version));
          const versions = await Promise.all(racing);
          expect(versions.filter((each) => each !== undefined)).toHaveLength(1);
          version = versions.find((each) => each !== undefined);
          const winner = versions.findIndex((each) => each !== undefined);
          expect(await some[0]!.record(name).read()).toEqual({ text: `${round}.${winner}`, version });
        }
      });

      test('a record is linearizable, to those that are cut off amid a write too', async () => {
        const history = await recordHistory(fresh('record'), fates);
        assertLinearizable(recordModel, history);
        expect(history.some(({ answer }) => answer === undefined)).toBe(true);
        expect(history.filter(({ answer }) => answer?.output === null).length).toBeGreaterThan(10);
      });

      test('a watch shows the present state, grows, and never leaves out the last', async () => {
        const [a, b] = [await connect(), await connect()];
        const name = fresh('record');
        const early = collect<RecordState>(b.record(name).watch()).seen;
        let version = await a.record(name).write('0', undefined);
        await until(() => early.at(-1)?.text === '0');
        const late = collect<RecordState>(b.record(name).watch()).seen;
        await until(() => late.length > 0);
        for (let text = 1; text < 30; text++) version = await a.record(name).write(`${text}`, version);
        await until(() => [early, late].every((seen) => seen.at(-1)?.text === '29'));
        for (const seen of [early, late]) {
          const versions = seen.map((state) => state.version);
          expect(versions).toEqual([...new Set(versions)].sort((x, y) => x - y));
        }
      });

      test('a watch goes on over a lost session', async () => {
        const [a, b] = [await connect(), await connect()];
        const [name, service] = [fresh('record'), fresh('service')];
        await b.announce(service, { id: 'b' });
        const { seen } = collect(b.record(name).watch());
        const first = await a.record(name).write('before', undefined);
        await until(() => seen.at(-1)?.text === 'before');
        fixture.cut(b);
        await until(async () => (await a.list(service)).length === 0);
        const second = await a.record(name).write('meanwhile', first);
        fixture.heal(b);
        await until(() => seen.at(-1)?.text === 'meanwhile');
        await a.record(name).write('after', second);
        await until(() => seen.at(-1)?.text === 'after');
      });
    });

    describe('the end', () => {
      test('after close iterators have ended, waiting calls reject, and new ones are refused', async () => {
        const [a, b] = [await connect(), await connect()];
        const [service, role, name] = [fresh('service'), fresh('role'), fresh('record')];
        await leads(b, role);
        const waiting = a.elect(role, 'a').catch((error: unknown) => error);
        const watches = [collect(a.watch(service)), collect<unknown>(a.record(name).watch())];
        await a.announce(service, { id: 'a' });
        fixture.cut(a);
        const calls = [a.list(service), a.record(name).read()].map((call) => call.catch((error: unknown) => error));
        const closed = a.close();
        for (const call of [waiting, ...calls]) expect(await settle(call)).toBeInstanceOf(UnavailableError);
        await settle(closed);
        await until(() => watches.every(({ ended }) => ended()));
        await expect(a.list(service)).rejects.toThrow(UnavailableError);
        await expect(a.announce(service, {})).rejects.toThrow(UnavailableError);
        await expect(a.elect(role, 'a')).rejects.toThrow(UnavailableError);
        expect(await a.watch(service).next()).toMatchObject({ done: true });
        await a.close();
      });

      test('an iterator that was returned from is over, and the others go on', async () => {
        const a = await connect();
        const service = fresh('service');
        const [left, kept] = [a.watch(service), a.watch(service)];
        await settle(left.next());
        await left.return?.();
        expect(await left.next()).toMatchObject({ done: true });
        await settle(kept.next());
        await a.announce(service, { id: 'a' });
        expect(ids((await settle(kept.next())).value as readonly Instance[])).toEqual(['a']);
      });

      test('names that a registry could not keep are refused', async () => {
        const a = await connect();
        for (const wrong of ['', '.', '..', '-a', 'a/b', 'a b', 'é', 'x'.repeat(201)]) {
          await expect(a.announce(wrong, {})).rejects.toThrow(RangeError);
          await expect(a.list(wrong)).rejects.toThrow(RangeError);
          await expect(a.elect(wrong, 'a')).rejects.toThrow(RangeError);
          expect(() => a.watch(wrong)).toThrow(RangeError);
          expect(() => a.record(wrong)).toThrow(/the name of a record must be/);
        }
        expect(await a.list(`a.${'x'.repeat(198)}`)).toEqual([]);
      });
    });
  });
}
