import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Fifo } from './fifo.ts';

it('a queue gives back what an array would, over any run of pushes and shifts, however long it is', () => {
  const steps = fc.array(fc.record({ push: fc.nat(3000), shift: fc.nat(3000) }), { maxLength: 12 });
  fc.assert(
    fc.property(steps, (runs) => {
      const queue = new Fifo<number>();
      const model: number[] = [];
      let next = 0;
      for (const { push, shift } of runs) {
        for (let count = 0; count < push; count++) {
          queue.push(next);
          model.push(next++);
        }
        const wanted = Array.from(model.splice(0, shift));
        expect(Array.from({ length: shift }, () => queue.shift()).filter((item) => item !== undefined)).toEqual(wanted);
        expect(queue.length).toBe(model.length);
      }
      expect([...queue]).toEqual(model);
      expect(queue.drain()).toEqual(model);
      expect(queue.length).toBe(0);
    }),
  );
});
