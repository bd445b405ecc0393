import { EventEmitter } from 'node:events';
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { startProcess } from '@lab/testing/processes';
import { describe, expect, it, vi } from 'vitest';
import { interruptible } from './interruptible.ts';

const startWork = () => startProcess([join(import.meta.dirname, '../test/program.ts'), 'work']);
const makeOs = () => Object.assign(new EventEmitter(), { exit: vi.fn() });

describe('work that can be interrupted', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('cleans up on %s, and its process exits with %i', async (signal, code) => {
    await using working = startWork();
    await working.line(/^working$/);
    working.signal(signal);
    await working.line(/^cleaning up$/);
    working.endInput();
    expect(await working.ended()).toBe(code);
    expect([working.stdout, working.stderr]).toEqual(['working\ncleaning up\ncleaned up\n', 'interrupted\n']);
  });

  it('ends at once when somebody means it again', async () => {
    await using working = startWork();
    await working.line(/^working$/);
    await eventually(() => {
      working.signal('SIGINT');
      return !working.isAlive;
    });
    expect(await working.ended()).toBe(130);
    expect(working.stdout).toBe('working\ncleaning up\n');
  });

  it('goes on cleaning up on the echo of a signal', async () => {
    const os = makeOs();
    const cleaned = Promise.withResolvers<void>();
    const working = interruptible(() => cleaned.promise, os);
    for (let count = 0; count < 2; count++) os.emit('SIGINT', 'SIGINT');
    cleaned.reject(new Error('the work was cut short'));
    await expect(working).rejects.toThrow('interrupted');
    expect(os.exit).not.toHaveBeenCalled();
  });

  it('gives what it made, or its own error, and leaves no handlers behind', async () => {
    const os = makeOs();
    expect(await interruptible(() => Promise.resolve(os.eventNames()), os)).toEqual(['SIGINT', 'SIGTERM']);
    await expect(interruptible(() => Promise.reject(new Error('the disk is full')), os)).rejects.toThrow('the disk is full');
    expect(os.eventNames()).toEqual([]);
  });

  it('is done where it was done all the same', async () => {
    const os = makeOs();
    const work = async (interrupted: AbortSignal): Promise<boolean> => {
      os.emit('SIGINT', 'SIGINT');
      return interrupted.aborted;
    };
    expect(await interruptible(work, os)).toBe(true);
  });
});
