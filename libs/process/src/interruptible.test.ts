import { EventEmitter } from 'node:events';
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { startProcess } from '@lab/testing/processes';
import { describe, expect, it } from 'vitest';
import { interruptible } from './interruptible.ts';

const program = (...args: string[]) => startProcess([join(import.meta.dirname, '../test/program.ts'), 'work', ...args]);

describe('work that can be interrupted', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('cleans up on %s, though that comes twice, and its process exits with %i', async (signal, code) => {
    await using working = program('--clean-ms', '100');
    await working.line(/^working$/);
    working.signal(signal);
    await working.line(/^cleaning up$/);
    working.signal(signal);
    expect(await working.ended()).toBe(code);
    expect([working.stdout, working.stderr]).toEqual(['working\ncleaning up\ncleaned up\n', 'interrupted\n']);
  });

  it('ends at once when somebody means it again', async () => {
    await using working = program('--clean-ms', String(2 ** 31 - 1));
    await working.line(/^working$/);
    await eventually(() => {
      working.signal('SIGINT');
      return !working.isAlive;
    });
    expect(await working.ended()).toBe(130);
    expect(working.stdout).toBe('working\ncleaning up\n');
  });

  it('gives what it made, or its own error, and leaves no handlers behind', async () => {
    const os = Object.assign(new EventEmitter(), { exit: () => {} });
    expect(await interruptible(() => Promise.resolve(os.eventNames()), os)).toEqual(['SIGINT', 'SIGTERM']);
    await expect(interruptible(() => Promise.reject(new Error('the disk is full')), os)).rejects.toThrow('the disk is full');
    expect(os.eventNames()).toEqual([]);
  });

  it('is done where it was done all the same', async () => {
    const os = Object.assign(new EventEmitter(), { exit: () => {} });
    const work = async (interrupted: AbortSignal): Promise<boolean> => {
      os.emit('SIGINT', 'SIGINT');
      return interrupted.aborted;
    };
    expect(await interruptible(work, os)).toBe(true);
  });
});
