import { describe, expect, it } from 'vitest';
import { findTarget, help, parse, planned, targetNames, UsageError, verbs, type Order } from './verbs.ts';

const order = (given: Partial<Order>): Order => ({
  ...{ verb: 'list', targets: [], amount: 0, forMs: 60_000, keep: false, oneWay: false, seed: undefined },
  ...given,
});

describe('what is typed', () => {
  it.each<[string, Partial<Order>]>([
    ['list', {}],
    ['heal', { verb: 'heal' }],
    ['heal counter-1', { verb: 'heal', targets: ['counter-1'] }],
    ['kill counter-1 --for 10s', { verb: 'kill', targets: ['counter-1'], forMs: 10_000 }],
    ['pause counter-1 --keep', { verb: 'pause', targets: ['counter-1'], keep: true }],
    ['cut a', { verb: 'cut', targets: ['a'] }],
    ['cut a b --one-way', { verb: 'cut', targets: ['a', 'b'], oneWay: true }],
    ['slow a 200ms', { verb: 'slow', targets: ['a'], amount: 200 }],
    ['slow a 1s --for=2m', { verb: 'slow', targets: ['a'], amount: 1_000, forMs: 120_000 }],
    ['lose a 2.5%', { verb: 'lose', targets: ['a'], amount: 2.5 }],
    ['clock a +1h', { verb: 'clock', targets: ['a'], amount: 3_600 }],
    ['clock a -30s', { verb: 'clock', targets: ['a'], amount: -30 }],
    ['fill-disk a', { verb: 'fill-disk', targets: ['a'] }],
    ['random --seed 7 --for 2m', { verb: 'random', seed: 7, forMs: 120_000 }],
  ])('%s', (typed, expected) => {
    expect(parse(typed.split(' '))).toEqual(order(expected));
  });

  it.each([
    ['frob', '"frob" is no verb; there are kill, stop,'],
    ['kill', 'kill takes A, and got nothing; list names the targets'],
    ['cut a b c', 'cut takes A [B], not "a b c"'],
    ['cut a a', 'a cannot be cut from itself'],
    ['list a', 'list takes nothing, not "a"'],
    ['kill a --one-way', '--one-way is of cut alone'],
    ['kill a --seed 1', '--seed is of random alone'],
    ['random --keep', 'it takes no --keep'],
    ['kill a --for 5s --keep', '--for ends it, --keep lets it stay'],
    ['heal --for 5s', 'heal leaves nothing that ends later'],
    ['start a --keep', 'start leaves nothing that ends later'],
    ['slow a -5ms', 'not "-5ms"'],
    ['kill a --for=-5ms', 'not "-5ms"'],
    ['kill a --for 10', '--for is a time as 200ms, 10s, 2m, 12h or 7d, not "10"'],
    ['kill a --for 0s', '--for is from 1ms to 1d, not "0s"'],
    ['kill a --for 25h', 'not "25h"'],
    ['slow a 61s', 'the delay is from 1ms to 1m, not "61s"'],
    ['lose a 5', 'not "5"'],
    ['lose a 0%', 'not "0%"'],
    ['lose a 101%', 'not "101%"'],
    ['clock a 1h', 'not by "1h"'],
    ['clock a -11000d', 'not by "-11000d"'],
    ['random --seed x', 'not "x"'],
    ['kill a --frob', '--frob'],
  ])('%s is refused, and why is said', (typed, why) => {
    expect(() => parse(typed.split(' '))).toThrow(UsageError);
    expect(() => parse(typed.split(' '))).toThrow(why);
  });

  it('is explained, with every verb', () => {
    for (const verb of Object.keys(verbs)) expect(help('word-count')).toMatch(new RegExp(`^  ${verb}\\b`, 'm'));
  });
});

describe('names of targets', () => {
  const project = 'lab-shop';
  const names = (...services: (readonly [service: string, number: number])[]): string[] =>
    targetNames(
      project,
      services.map(([service, number]) => ({ service, container: `${project}-${service}-${number}` })),
    );

  it('have a number where a role has several instances', () => {
    expect(names(['rabbitmq', 1], ['counter', 1], ['counter', 2])).toEqual(['rabbitmq', 'counter-1', 'counter-2']);
  });

  it('are those of the roles where these have numbers themselves', () => {
    expect(names(['solver-1', 1], ['solver-2', 1])).toEqual(['solver-1', 'solver-2']);
    expect(names(['solver-1', 1], ['solver-1', 2], ['solver-2', 1])).toEqual(['solver-1-1', 'solver-1-2', 'solver-2']);
  });

  it('keep the number of the one that is left when others were removed', () => {
    expect(names(['web', 3])).toEqual(['web-3']);
  });

  it('are their own for containers that were added by hand', () => {
    const added = { service: 'node-1', container: 'lab-shop-node-9' };
    expect(targetNames(project, [{ service: 'node-1', container: 'lab-shop-node-1-1' }, added])).toEqual(['node-1', 'node-9']);
  });

  it('find their target, a role of one instance with its number, too; an unknown one is told the others', () => {
    const there = ['counter-1', 'counter-2', 'rabbitmq'];
    expect([findTarget(there, 'counter-2'), findTarget(there, 'rabbitmq'), findTarget(there, 'rabbitmq-1')]).toEqual([1, 2, 2]);
    for (const unknown of ['counter', 'rabbitmq-2', 'x'])
      expect(() => findTarget(there, unknown)).toThrow(`"${unknown}" is no target; there are counter-1, counter-2, rabbitmq`);
  });
});

describe('faults that a seed chooses', () => {
  const names = ['counter-1', 'counter-2', 'rabbitmq'];

  it('are the same for the same seed, and others for another', () => {
    expect(planned(7, 120_000, names)).toEqual(planned(7, 120_000, names));
    expect(planned(7, 120_000, names)).not.toEqual(planned(8, 120_000, names));
  });

  it('fill the time, and no more', () => {
    for (let seed = 0; seed < 200; seed++) {
      const lastMs = planned(seed, 120_000, names).reduce((sum, { order, calmMs }) => sum + order.forMs + calmMs, 0);
      expect(lastMs).toBeLessThanOrEqual(120_000);
      expect(lastMs).toBeGreaterThan(120_000 - 21_000);
    }
  });

  it('are some in a short time, too', () => {
    for (let seed = 0; seed < 200; seed++) expect(planned(seed, 30_000, names).length).toBeGreaterThan(1);
  });

  it('begin alike, however long they go on', () => {
    const short = planned(3, 60_000, names);
    expect(planned(3, 120_000, names).slice(0, short.length)).toEqual(short);
  });

  it('could have been typed', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 200; seed++)
      for (const { order } of planned(seed, 60_000, names)) {
        seen.add(order.verb);
        const word = { slow: [`${order.amount}ms`], lose: [`${order.amount}%`] }[order.verb as 'slow' | 'lose'] ?? [];
        const typed = [
          order.verb,
          ...order.targets,
          ...word,
          '--for',
          `${order.forMs}ms`,
          ...(order.oneWay ? ['--one-way'] : []),
        ];
        expect(parse(typed)).toEqual(order);
      }
    expect([...seen].sort()).toEqual(['cut', 'kill', 'lose', 'pause', 'slow', 'stop']);
  });
});
