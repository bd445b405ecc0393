import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Admission } from './admission.ts';
import { filtersOf } from './queries.ts';

const limits = { windowBytes: 100, batchesMax: 1000 };

/** Whether the promise has resolved by the time all microtasks have run. */
async function resolved(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(() => (done = true));
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

function passEverywhere(admission: Admission, session: string, number: number): void {
  for (const { name } of filtersOf.trips) admission.passed(session, 'trips', number, name);
}

describe('the window', () => {
  it('lets a batch wait until every filter has passed an earlier one, repeats counting once', async () => {
    const admission = new Admission(limits);
    admission.open('a');
    await admission.admit('a', 'trips', 0, 60);
    const second = admission.admit('a', 'trips', 1, 60);
    for (let repeat = 0; repeat < 3; repeat++) admission.passed('a', 'trips', 0, 'trips-1');
    for (const { name } of filtersOf.trips.slice(1, -1)) admission.passed('a', 'trips', 0, name);
    expect(await resolved(second)).toBe(false);
    admission.passed('a', 'trips', 0, filtersOf.trips.at(-1)!.name);
    expect(await resolved(second)).toBe(true);
    expect(admission.bytes).toBe(60);
  });

  it('admits a batch larger than the whole window, alone', async () => {
    const admission = new Admission(limits);
    admission.open('a');
    await admission.admit('a', 'trips', 0, 500);
    const next = admission.admit('a', 'trips', 1, 1);
    expect(await resolved(next)).toBe(false);
    passEverywhere(admission, 'a', 0);
    expect(await resolved(next)).toBe(true);
  });

  it('gets back what a closed session had, and refuses what it waited for', async () => {
    const admission = new Admission(limits);
    admission.open('a');
    admission.open('b');
    await admission.admit('a', 'trips', 0, 90);
    const waiting = admission.admit('a', 'trips', 1, 90);
    const other = admission.admit('b', 'trips', 0, 90);
    admission.close('a');
    await expect(waiting).rejects.toThrow('session a is closed');
    expect(await resolved(other)).toBe(true);
    expect(admission.bytes).toBe(90);
  });

  it('refuses what comes for a closed session at once, and lets the next in line go on', async () => {
    const admission = new Admission(limits);
    admission.open('a');
    await admission.admit('a', 'trips', 0, 90);
    await expect(admission.admit('closed', 'trips', 0, 90)).rejects.toThrow('session closed is closed');
    const next = admission.admit('a', 'trips', 1, 90);
    passEverywhere(admission, 'a', 0);
    expect(await resolved(next)).toBe(true);
  });

  it('never holds more than its bytes, and never stands still, whatever the order of admissions and reports', async () => {
    const batch = fc.record({ session: fc.constantFrom('a', 'b', 'c'), bytes: fc.integer({ min: 1, max: 100 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(batch, { maxLength: 40 }), fc.infiniteStream(fc.nat()), async (batches, random) => {
        const admission = new Admission(limits);
        const underway: { session: string; number: number }[] = [];
        let admitted = 0;
        for (const session of ['a', 'b', 'c']) admission.open(session);
        for (const [number, { session, bytes }] of batches.entries()) {
          void admission.admit(session, 'trips', number, bytes).then(() => {
            admitted += 1;
            underway.push({ session, number });
            expect(admission.bytes).toBeLessThanOrEqual(limits.windowBytes);
          });
        }
        for (let step = 0; step < batches.length; step++) {
          await new Promise((resolve) => setImmediate(resolve));
          expect(underway.length).toBeGreaterThan(0);
          const [done] = underway.splice((random.next().value as number) % underway.length, 1);
          passEverywhere(admission, done!.session, done!.number);
        }
        expect(admitted).toBe(batches.length);
        expect(admission.bytes).toBe(0);
      }),
      { numRuns: 50 },
    );
  });
});

describe('the bound on unfinished batches', () => {
  it('is no bound for one behind an older session that sends nothing, and that one has its share when it does', async () => {
    const admission = new Admission({ windowBytes: 1e9, batchesMax: 20 });
    for (const session of ['idle', 'big']) admission.open(session);
    for (let number = 0; number < 10; number++) expect(await resolved(admission.admit('big', 'trips', number, 1))).toBe(true);
    for (let number = 0; number < 5; number++) expect(await resolved(admission.admit('idle', 'trips', number, 1))).toBe(true);
    const idle = admission.admit('idle', 'trips', 5, 1);
    expect(await resolved(idle)).toBe(false);
    expect(admission.isWaitedFor('big')).toBe(true);
    admission.close('big');
    expect(await resolved(idle)).toBe(true);
  });

  it('lets only the first session go on beyond half of it, and the next one when that has ended', async () => {
    const admission = new Admission({ windowBytes: 1e9, batchesMax: 20 });
    for (const session of ['old', 'young']) admission.open(session);
    for (let number = 0; number < 5; number++) {
      await admission.admit('old', 'trips', number, 1);
      await admission.admit('young', 'trips', number, 1);
    }
    const young = admission.admit('young', 'trips', 5, 1);
    expect(await resolved(young)).toBe(false);
    await admission.admit('old', 'trips', 5, 1);
    admission.close('old');
    expect(await resolved(young)).toBe(true);
  });

  it('leaves room for others, however many sessions stand still with all that they can get, and says who is waited for', async () => {
    const admission = new Admission({ windowBytes: 1e9, batchesMax: 2_000 });
    const fill = async (session: string): Promise<number> => {
      admission.open(session);
      for (let number = 0; ; number++) {
        if (number === 1_000 || !(await resolved(admission.admit(session, 'trips', number, 1)))) return number;
      }
    };
    expect(await fill('oldest')).toBe(1_000);
    expect(admission.isWaitedFor('oldest')).toBe(false);
    expect(await fill('second')).toBe(500);
    expect(await fill('third')).toBe(250);
    expect(await fill('fourth')).toBe(125);
    expect(admission.waiting('fourth')).toBe('it has 125 batches, and 125 are free; 4 sessions share them');
    expect(admission.isWaitedFor('oldest')).toBe(true);
    admission.close('oldest');
    expect(admission.waiting('second')).toBeUndefined();
  });

  it('counts a batch that is sent again once, and what a predecessor let in', async () => {
    const admission = new Admission({ windowBytes: 1e9, batchesMax: 20 });
    admission.open('old');
    await admission.admit('old', 'trips', 0, 1);
    admission.open('young', new Map([['weather', 3]]));
    await admission.admit('young', 'trips', 0, 1);
    await admission.admit('young', 'trips', 0, 1);
    await admission.admit('young', 'trips', 1, 1);
    expect(await resolved(admission.admit('young', 'trips', 2, 1))).toBe(false);
  });
});
