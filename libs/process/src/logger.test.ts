import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { silentLogger, type LoggerOptions } from './logger.ts';

/** Logs in a process of its own, whose stderr is not a terminal, and is killed right after. */
function logged(options: LoggerOptions): { stdout: string; stderr: string } {
  const script = `
    import { makeLogger } from ${JSON.stringify(new URL('./logger.ts', import.meta.url).href)};
    const log = makeLogger(${JSON.stringify(options)});
    log.debug('details');
    log.error({ role: 'filter', err: new Error('a reason') }, 'failed');
    process.kill(process.pid, 'SIGKILL');`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  return { stdout, stderr };
}

describe('makeLogger', () => {
  it('writes each line as JSON on stderr before the call returns, and nothing on stdout', () => {
    const { stdout, stderr } = logged({ name: 'filter-1' });
    expect(stdout).toBe('');
    const lines = stderr.trim().split('\n');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toEqual({
      level: 50,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
      name: 'filter-1',
      role: 'filter',
      err: expect.objectContaining({ type: 'Error', message: 'a reason' }) as object,
      msg: 'failed',
    });
  });

  it('writes levels from the given one on', () => {
    const { stderr } = logged({ name: 'filter-1', level: 'debug' });
    expect(stderr.trim().split('\n')).toHaveLength(2);
  });

  it('writes for people when it is told to', () => {
    const { stderr } = logged({ name: 'filter-1', pretty: true });
    expect(stderr).toContain('ERROR');
    expect(stderr).toContain('(filter-1)');
    expect(stderr).toContain('failed');
    expect(() => JSON.parse(stderr) as unknown).toThrow();
  });
});

describe('silentLogger', () => {
  it('has no level that is written', () => {
    expect(silentLogger.isLevelEnabled('fatal')).toBe(false);
  });
});
