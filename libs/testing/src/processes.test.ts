import { describe, expect, it } from 'vitest';
import { freePort } from './free-port.ts';
import { startProcess } from './processes.ts';

const evaluated = (program: string): string[] => ['--input-type=module', '--eval', program];

describe('a process of a test', () => {
  it('has what it wrote, and the code it ended with', async () => {
    await using program = startProcess(evaluated(`console.log('out'); console.error('err'); process.exitCode = 7;`));
    expect(await program.ended()).toBe(7);
    expect([program.stdout, program.stderr]).toEqual(['out\n', 'err\n']);
    expect(program.isAlive).toBe(false);
  });

  it('gives the first line that matches, also of those that it has written already', async () => {
    await using program = startProcess(evaluated(`console.log('one\\ntwo\\nthree'); setInterval(() => {}, 1000);`));
    expect(await program.line(/^t/)).toBe('two');
    expect(await program.line()).toBe('one');
  });

  it('that ends without the line says what it wrote instead', async () => {
    await using program = startProcess(evaluated(`console.error('no room'); process.exitCode = 1;`));
    await expect(program.line(/ready/)).rejects.toThrow(/ended before it wrote a line with \/ready\/; it said:\nno room/);
  });

  it('listens when it says so, and is stopped, by force where it does not obey', async () => {
    const port = await freePort();
    const listen = `const { createServer } = await import('node:net'); createServer().listen(${port}, '127.0.0.1');`;
    await using obedient = startProcess(evaluated(listen));
    await obedient.listening(port);
    expect(await obedient.stop()).toBe(null);
    await using early = startProcess(evaluated(`process.exitCode = 3`));
    await expect(early.listening(port)).rejects.toThrow(/ended before it listened on port/);
  });

  it('reads what is written to it', async () => {
    await using program = startProcess(evaluated(`process.stdin.pipe(process.stdout)`));
    program.write('hello\n');
    expect(await program.line()).toBe('hello');
    program.endInput();
    expect(await program.ended()).toBe(0);
  });

  it('is gone when it is disposed of', async () => {
    const program = startProcess(evaluated(`setInterval(() => {}, 1000); console.log('up')`));
    await program.line();
    await program[Symbol.asyncDispose]();
    expect(() => process.kill(program.pid, 0)).toThrow(/ESRCH/);
  });
});
