import { join } from 'node:path';
import { check, lock } from '@lab/checker';
import { eventually, FakeClock, makeMutant, simulate } from '@lab/testing';
import { describe, expect, test } from 'vitest';
import { discoveryContract } from '../contract.ts';
import { leaderHistory, recordHistory, recordModel, type Fates } from '../histories.ts';
import { makeMemoryRegistry } from './registry.ts';

discoveryContract('memory', async () => {
  const clock = new FakeClock();
  const registry = makeMemoryRegistry({ clock, sessionTimeoutMs: 1_000 });
  return {
    connect: async () => registry.connect(),
    cut: (discovery) => registry.cut(discovery),
    heal: (discovery) => registry.heal(discovery),
    crash: async (discovery) => registry.crash(discovery),
    passTime: () => clock.advanceAsync(50),
    stop: async () => {},
  };
});

describe('a history of the memory registry', () => {
  /** On a registry made of sources with a mistake. */
  async function withMistake<Result>(right: string, wrong: string, run: (fates: Fates) => Promise<Result>): Promise<Result> {
    const file = right.startsWith('candidacy') ? 'memory/connection.ts' : 'memory/state.ts';
    using mutant = makeMutant(join(import.meta.dirname, '..'), { file, right, wrong });
    const mutated = (await mutant.import('memory/registry.ts')) as { makeMemoryRegistry: typeof makeMemoryRegistry };
    const clock = new FakeClock();
    const registry = mutated.makeMemoryRegistry({ clock, sessionTimeoutMs: 1_000 });
    return run({
      connect: async () => registry.connect(),
      cut: (discovery) => registry.cut(discovery),
      heal: (discovery) => registry.heal(discovery),
      crash: async (discovery) => registry.crash(discovery),
      async settle(promise) {
        let isSettled = false;
        const done = (): void => void (isSettled = true);
        promise.then(done, done);
        await eventually(async () => (await clock.advanceAsync(50), isSettled), { intervalMs: 0 });
        return promise;
      },
    });
  }

  test.each([
    ['a lost update', 'if (this.#state?.version !== version) return undefined;', ''],
    ['a write that is told, and not made', 'this.#state = Object.freeze({ text, version: next });', ''],
  ])('shows %s', async (_, right, wrong) => {
    const history = await withMistake(right, wrong, (fates) => recordHistory('record', fates));
    expect(check(recordModel, history).result).toBe('not linearizable');
  });

  test.each([
    ['two leaders', 'return first === onFirst;', 'return true;'],
    ['an epoch that comes again', 'return ++this.#epoch;', 'return this.#epoch || ++this.#epoch;'],
    ['a leader that does not learn that it is none', 'candidacy.lost?.resolve();\n    if', 'if'],
  ])('shows %s', async (_, right, wrong) => {
    const history = await withMistake(right, wrong, (fates) => leaderHistory('role', fates));
    expect(check(lock, history).result).toBe('not linearizable');
  });
});

describe('the memory registry', () => {
  const sessionTimeoutMs = 1_000;
  const make = () => {
    const clock = new FakeClock();
    return { clock, registry: makeMemoryRegistry({ clock, sessionTimeoutMs }) };
  };
  /** What promises make of the present moment. */
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  test('a session is lost after its timeout and not before, and a leadership a quarter of it earlier', async () => {
    const { clock, registry } = make();
    const [a, b] = [registry.connect(), registry.connect()];
    await a.announce('service', { id: 'a' });
    const events: string[] = [];
    void (await a.elect('role', 'a')).lost.then(() => events.push(`lost at ${clock.nowMs()}`));
    void b.elect('role', 'b').then(() => events.push(`elected at ${clock.nowMs()}`));
    registry.cut(a);
    await clock.advanceAsync(999);
    expect(await b.list('service')).toHaveLength(1);
    await clock.advanceAsync(1);
    expect(await b.list('service')).toHaveLength(0);
    expect(events).toEqual(['lost at 750', 'elected at 1000']);
  });

  test('a crashed one is told nothing anymore, and what it asks for is not done', async () => {
    const { clock, registry } = make();
    const [a, b] = [registry.connect(), registry.connect()];
    const leadership = await a.elect('role', 'a');
    const announcement = await a.announce('service', { id: 'a' });
    const abort = new AbortController();
    const waiting = a.elect('role', 'a again', { signal: abort.signal });
    const sets = a.watch('service');
    await sets.next();
    registry.cut(a);
    const pending = a.list('service');
    registry.crash(a);
    abort.abort();
    const record = a.record('record');
    const told: Promise<unknown>[] = [
      leadership.lost,
      leadership.resign(),
      announcement.withdraw(),
      waiting,
      sets.next(),
      pending,
      a.close(),
    ];
    told.push(a.announce('service', { id: 'ghost' }), a.elect('role', 'ghost'), record.read(), record.write('ghost', undefined));
    let settled = 0;
    for (const each of told) void each.finally(() => settled++);
    expect(await b.list('service')).toHaveLength(1);
    await clock.advanceAsync(10 * sessionTimeoutMs);
    registry.heal(a);
    await turn();
    expect(settled).toBe(0);
    expect(await b.list('service')).toHaveLength(0);
    expect(await b.record('record').read()).toBeUndefined();
  });

  test('all that can be known now comes without a turn of the event loop', async () => {
    const { registry } = make();
    const [a, b] = [registry.connect(), registry.connect()];
    let turns = 0;
    setImmediate(() => turns++);
    const sets = b.watch('service');
    await a.announce('service', { id: 'a' });
    await sets.next();
    const first = await a.elect('role', 'a');
    const next = b.elect('role', 'b');
    await first.resign();
    await next;
    await a.record('record').write('text', undefined);
    await a.close();
    expect(await b.list('service')).toEqual([]);
    expect(turns).toBe(0);
  });

  test('one that is closed while cut off is found until its session ends', async () => {
    const { clock, registry } = make();
    const [a, b] = [registry.connect(), registry.connect()];
    const announcement = await a.announce('service', { id: 'a' });
    registry.cut(a);
    await a.close();
    let isGone = false;
    void announcement.withdraw().then(() => (isGone = true));
    await clock.advanceAsync(999);
    expect([isGone, (await b.list('service')).length]).toEqual([false, 1]);
    await clock.advanceAsync(1);
    expect([isGone, (await b.list('service')).length]).toEqual([true, 0]);
  });

  test('refuses a timeout that cannot work, and a discovery of another registry', async () => {
    const { clock, registry } = make();
    expect(() => makeMemoryRegistry({ clock, sessionTimeoutMs: 0 })).toThrow(/sessionTimeoutMs.*0/);
    expect(() => registry.cut(make().registry.connect())).toThrow(/not connected to this registry/);
  });

  test(
    'with chance in charge of cuts and crashes no two lead at once, epochs grow, and the living are found in the end',
    { timeout: 60_000 },
    () =>
      simulate({ seeds: 50, env: process.env, file: import.meta.filename }, async (random) => {
        const { clock, registry } = make();
        const leading = new Set<object>();
        let epoch = 0;
        const lead = async (discovery: ReturnType<typeof registry.connect>): Promise<void> => {
          for (;;) {
            const leadership = await discovery.elect('role', 'candidate');
            expect(leadership.epoch).toBeGreaterThan(epoch);
            epoch = leadership.epoch;
            expect(leading.size).toBe(0);
            leading.add(discovery);
            await leadership.lost;
            leading.delete(discovery);
          }
        };
        const failures: unknown[] = [];
        const start = async (id: number): Promise<[number, ReturnType<typeof registry.connect>]> => {
          const discovery = registry.connect();
          await discovery.announce('service', { id });
          lead(discovery).catch((error: unknown) => failures.push(error));
          // What it has been told before it may die, it has heard.
          await turn();
          return [id, discovery];
        };
        const living = new Map(await Promise.all([0, 1, 2, 3].map(start)));
        for (let step = 0; step < 100; step++) {
          const id = random.pick([...living.keys()]);
          const discovery = living.get(id)!;
          const act = random.pick(['cut', 'cut', 'heal', 'heal', 'crash'] as const);
          registry[act](discovery);
          if (act === 'crash') {
            leading.delete(discovery);
            living.delete(id);
            living.set(...(await start(100 + step)));
          }
          await clock.advanceAsync(random.integer(0, sessionTimeoutMs));
        }
        for (const discovery of living.values()) registry.heal(discovery);
        await clock.advanceAsync(2 * sessionTimeoutMs);
        const found = await registry.connect().list('service');
        expect(found.map(({ endpoint }) => endpoint['id'] as number).sort()).toEqual([...living.keys()].sort());
        expect(leading.size).toBe(1);
        expect(failures).toEqual([]);
      }),
  );
});
