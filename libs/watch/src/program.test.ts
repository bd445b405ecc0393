import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recordingOf } from '../test/made-run.ts';
import { makeTemplate } from './document.ts';
import { servePage, watchProgram } from './program.ts';
import { recordingText } from './recording.ts';

const recording = recordingOf('reader starts', 'reader publish jobs: job 1');
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lab-watch-'));
  await writeFile(join(folder, 'run.jsonl'), recordingText(recording));
});
afterAll(() => rm(folder, { recursive: true }));

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const env = { INIT_CWD: folder };
  const code = await watchProgram({ args, env, stdout: (text) => void (out += text), stderr: (text) => void (err += text) });
  return { code, out, err };
}

describe('the command', () => {
  it('lists its settings', async () => {
    const { code, out } = await run('help');
    expect(code).toBe(0);
    expect(out).toMatch(/^Usage: npx nx look /);
    for (const flag of ['--replay', '--save', '--port']) expect(out).toContain(flag);
  });

  it('says where it has looked for a file that is not there, and what makes one', async () => {
    const { code, err } = await run('--replay', 'other.jsonl');
    const file = join(folder, 'other.jsonl');
    expect([code, err]).toEqual([2, expect.stringContaining(`${file} cannot be read: ENOENT`)]);
    expect(err).toMatch(/; "npx nx simulate \S+ --seed 3 --events FILE" writes such a file\n$/);
  });

  it('saves the page as one file, and says where and how large', async () => {
    const file = join(folder, 'run.html');
    const { code, out } = await run('--replay', 'run.jsonl', '--save', 'run.html');
    expect([code, out.replace(/: \d+/, ': 9')]).toEqual([0, `${file}: 9 KiB, opens in any browser\n`]);
    expect(await readFile(file, 'utf8')).toContain('"job 1"');
  });

  it.each([
    ['no recording', ['--save', 'x.html'], /replay/i],
    ['one that is not there', ['--replay', '/nowhere/run.jsonl'], /^\/nowhere\/run\.jsonl cannot be read: ENOENT/],
    ['the recording itself to save in', ['--replay', 'RUN', '--save', './run.jsonl'], /is the recording itself/],
    [
      'a place to save that is none',
      ['--replay', 'RUN', '--save', '/nowhere/run.html'],
      /^\/nowhere\/run\.html cannot be written/,
    ],
  ])('refuses %s, as wrong usage', async (_, args, message) => {
    const { code, err } = await run(...args.map((arg) => (arg === 'RUN' ? join(folder, 'run.jsonl') : arg)));
    expect([code, err]).toEqual([2, expect.stringMatching(message)]);
  });
});

it('a Ctrl-C ends it in good order', async () => {
  const main = join(import.meta.dirname, 'main.ts');
  const child = spawn(process.execPath, [main, '--replay', join(folder, 'run.jsonl')], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [printed] = (await once(child.stdout, 'data')) as [Buffer];
  expect(printed.toString()).toMatch(/^http:\/\/127\.0\.0\.1:\d+\//);
  child.kill('SIGINT');
  expect(await once(child, 'exit')).toEqual([0, null]);
});

it('the page of a run without a simulator runs nothing again, and is what is saved', async () => {
  const served = await servePage(await makeTemplate(), recording, 0);
  const page = await (await fetch(served.url)).text();
  expect(page).toContain('"job 1"');
  expect(page).not.toContain('connect-src');
  expect(await (await fetch(`${served.url}save`)).text()).toBe(page);
  expect((await fetch(`${served.url}again`, { method: 'POST' })).status).toBe(405);
  await served.close();
});
