import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

function run(tool: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, tool), ...args], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

describe.each(['demo.ts', 'mutants.ts', 'test-all.ts'])('%s', (tool) => {
  it('shows its help, and starts nothing', () => {
    expect(run(tool, '--help')).toEqual({ status: 0, stdout: expect.stringMatching(/^Usage: npm run /) as string, stderr: '' });
  });

  it('starts nothing where one of its arguments is unknown', () => {
    const known = tool === 'test-all.ts' ? '--no-engine' : 'word-count';
    expect(run(tool, known, 'nothing')).toEqual({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining('"nothing"') as string,
    });
  });
});

describe('demo.ts', () => {
  it('names the systems, the template first, then by name', () => {
    const [first, ...others] = /; there are (.*)\n$/.exec(run('demo.ts', 'nothing').stderr)?.[1]?.split(', ') ?? [];
    expect([first, others]).toEqual(['word-count', others.toSorted()]);
    expect(others).toContain('ha-web');
  });

  it('runs the named ones only', () => {
    const { status, stdout } = run('demo.ts', 'word-count');
    expect([status, stdout.match(/^── .* ──$/gm)]).toEqual([0, ['── word-count ──']]);
  });
});
