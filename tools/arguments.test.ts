import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

function run(tool: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, tool), ...args], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

describe.each(['demo.ts', 'mutants.ts', 'new.ts', 'test-all.ts'])('%s', (tool) => {
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

describe('eject.ts', () => {
  it.each(['tmp/own', '.'])('makes no repository in the kit: %s', (to) => {
    const kit = join(import.meta.dirname, '..');
    expect(run('eject.ts', 'word-count', join(kit, to))).toEqual({
      status: 2,
      stdout: '',
      stderr: `${join(kit, to)} is in the kit, ${kit}: name a folder outside of it, as ../word-count\n`,
    });
  });
});

describe('a bench', () => {
  const root = join(import.meta.dirname, '..');
  const benches = globSync('{apps,libs}/*/bench/*.bench.ts', { cwd: root });

  it.each(benches)('%s explains itself before it measures', (bench) => {
    expect(readFileSync(join(root, bench), 'utf8')).toMatch(/';\n\nexplainBench\(\);\n/);
  });

  it('measures nothing where it is asked for help', () => {
    expect(run('../libs/columns/bench/columns.bench.ts', 'help')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^Usage: npx nx bench APP \[--json FILE\]\n/) as string,
    });
  });
});
