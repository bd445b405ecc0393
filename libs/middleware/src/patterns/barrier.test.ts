import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Barrier } from './barrier.ts';

it('opens exactly when every number was seen and the end is known, in any order and with any repeats', () => {
  const shares = fc
    .integer({ min: 1, max: 5 })
    .chain((step) => fc.record({ step: fc.constant(step), first: fc.integer({ min: 0, max: step - 1 }) }));
  fc.assert(
    fc.property(shares, fc.integer({ min: 0, max: 40 }), fc.infiniteStream(fc.nat()), ({ first, step }, end, random) => {
      const awaited = Array.from({ length: end }, (_, number) => number).filter((number) => number % step === first);
      const events: (number | 'end')[] = [...awaited, ...awaited.filter((number) => number % 3 === 0), 'end'];
      for (let at = events.length - 1; at > 0; at--) {
        const other = (random.next().value as number) % (at + 1);
        [events[at], events[other]] = [events[other]!, events[at]!];
      }
      const barrier = new Barrier(first, step);
      const seen = new Set<number | 'end'>();
      for (const event of events) {
        expect(barrier.open).toBe(seen.size === awaited.length + 1);
        if (event === 'end') barrier.close(end);
        else barrier.add(event);
        seen.add(event);
      }
      expect(barrier.open).toBe(true);
    }),
  );
});

it('opens at once for a stream without batches', () => {
  const barrier = new Barrier(2, 3);
  expect(barrier.open).toBe(false);
  barrier.close(0);
  expect(barrier.open).toBe(true);
});

it('refuses a second, different end', () => {
  const barrier = new Barrier();
  barrier.close(3);
  barrier.close(3);
  expect(() => barrier.close(4)).toThrow('one stream, two ends: 3 and 4 batches');
});
