/** The mistakes of distributed objects, each beside a history that differs little and is right. */
import { describe, expect, it } from 'vitest';
import { check, counter, lock, register, set, type Invocation, type Model, type Operation } from './index.ts';

/** Called and answered at these milliseconds; without the second there was no answer. */
function did<Input extends Invocation, Output>(client: string, input: Input, calledMs: number, ms?: number, output?: Output) {
  const call = { client, input, calledMs };
  return ms === undefined ? call : { ...call, answer: { output: output as Output, ms } };
}

function refuses<State, Input extends Invocation, Output>(
  model: Model<State, Input, Output>,
  histories: { right: Operation<Input, Output>[]; wrong: Operation<Input, Output>[]; misfit: string },
): void {
  expect(check(model, histories.right).result).toBe('linearizable');
  expect(check(model, histories.wrong)).toMatchObject({
    result: 'not linearizable',
    failure: { misfit: { client: histories.misfit } },
  });
}

const read = { op: 'read' } as const;

describe('a register', () => {
  const numbers = register(0);
  const write = (value: number) => ({ op: 'write', value }) as const;
  const swap = (expected: number, value: number) => ({ op: 'compareAndSet', expected, value }) as const;

  it('has no stale read: the old value after somebody saw the new one', () => {
    const writing = did('a', write(1), 0, 9);
    refuses(numbers, {
      right: [writing, did('b', read, 1, 3, 1), did('c', read, 2, 4, 0)],
      wrong: [writing, did('b', read, 1, 2, 1), did('c', read, 3, 4, 0)],
      misfit: 'c',
    });
  });

  it('has no lost update: of two changes of one value one comes first', () => {
    refuses(numbers, {
      right: [did('a', swap(0, 1), 0, 5, true), did('b', swap(0, 2), 1, 6, false), did('c', read, 7, 8, 1)],
      wrong: [did('a', swap(0, 1), 0, 5, true), did('b', swap(0, 2), 1, 6, true), did('c', read, 7, 8, 2)],
      misfit: 'b',
    });
  });

  it('may have taken a write without an answer late, or never, but not back', () => {
    const lost = did('a', write(1), 0);
    refuses(numbers, {
      right: [lost, did('b', read, 1, 2, 0), did('b', read, 3, 4, 1), did('b', read, 5, 6, 1)],
      wrong: [lost, did('b', read, 1, 2, 0), did('b', read, 3, 4, 1), did('c', read, 5, 6, 0)],
      misfit: 'c',
    });
  });
});

describe('a counter', () => {
  const add = did('a', { op: 'add', amount: 1 } as const, 0);

  it('counts once what was asked for once, answered or not', () => {
    const answered = did('a', add.input, 0, 1);
    refuses(counter, { right: [answered, did('b', read, 2, 3, 1)], wrong: [answered, did('b', read, 2, 3, 2)], misfit: 'b' });
    refuses(counter, { right: [add, did('b', read, 2, 3, 1)], wrong: [add, did('b', read, 2, 3, 2)], misfit: 'b' });
    refuses(counter, { right: [add, did('b', read, 2, 3, 0)], wrong: [answered, did('b', read, 2, 3, 0)], misfit: 'b' });
  });

  it('gives no two the same total', () => {
    const each = (client: string, total: number) => did(client, { op: 'add', amount: 1 } as const, 0, 5, total);
    refuses(counter, { right: [each('a', 1), each('b', 2)], wrong: [each('a', 1), each('b', 1)], misfit: 'b' });
  });
});

describe('a set', () => {
  const add = (element: string) => ({ op: 'add', element }) as const;
  const list = { op: 'list' } as const;

  it('keeps what was added, and lists it in any order', () => {
    const added = [did('a', add('x'), 0, 1, true), did('b', add('y'), 0, 1)];
    refuses(set, {
      right: [...added, did('c', list, 2, 3, ['y', 'x'])],
      wrong: [...added, did('c', list, 2, 3, ['x'])],
      misfit: 'c',
    });
  });

  it('has what was added once, once', () => {
    refuses(set, {
      right: [did('a', add('x'), 0, 5, true), did('b', add('x'), 0, 5, false)],
      wrong: [did('a', add('x'), 0, 5, true), did('b', add('x'), 0, 5, true)],
      misfit: 'b',
    });
  });
});

describe('a lock', () => {
  const acquire = { op: 'acquire' } as const;
  const release = { op: 'release' } as const;

  it('has no two holders at one time', () => {
    refuses(lock, {
      right: [did('a', acquire, 0, 1, 1), did('a', release, 2, 5), did('b', acquire, 3, 4, 2)],
      wrong: [did('a', acquire, 0, 1, 1), did('b', acquire, 3, 4, 2), did('a', release, 5, 6)],
      misfit: 'b',
    });
  });

  it('gives no older epoch after a newer one, and none twice', () => {
    const earlier = [did('a', acquire, 0, 1, 7), did('a', release, 2, 3)];
    refuses(lock, {
      right: [...earlier, did('b', acquire, 4, 5, 8)],
      wrong: [...earlier, did('b', acquire, 4, 5, 6)],
      misfit: 'b',
    });
    refuses(lock, {
      right: [...earlier, did('b', acquire, 4, 5, 9)],
      wrong: [...earlier, did('b', acquire, 4, 5, 7)],
      misfit: 'b',
    });
  });

  it('passes from a holder that died, and only then', () => {
    const held = did('a', acquire, 0, 1, 1);
    const died = did('a', release, 4);
    refuses(lock, {
      right: [held, died, did('b', acquire, 2, 6, 2)],
      wrong: [held, died, did('b', acquire, 2, 3, 2)],
      misfit: 'b',
    });
  });

  it('may be held by one whose answer was lost', () => {
    const asked = did('a', acquire, 0);
    refuses(lock, {
      right: [asked, did('b', acquire, 1, 2, null)],
      wrong: [did('a', release, 0), did('b', acquire, 1, 2, null)],
      misfit: 'b',
    });
  });

  it('is released by its holder', () => {
    refuses(lock, {
      right: [did('a', acquire, 0, 1, 1), did('a', release, 2, 3)],
      wrong: [did('a', acquire, 0, 1, 1), did('b', release, 2, 3)],
      misfit: 'b',
    });
  });
});
