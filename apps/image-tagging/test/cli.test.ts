/** The client's commands as people type them, against a running system. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runMain } from '@lab/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientCommands } from '../src/client/commands.ts';
import { picture } from './pictures.ts';
import { System } from './system.ts';

let system: System;
let file: string;

beforeAll(async () => {
  system = await System.start({ servers: 2 });
  file = await system.file(picture, 'harbour.jpg');
});
afterAll(() => system[Symbol.asyncDispose]());

/** What `client ...` prints and exits with. */
async function client(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let [stdout, stderr] = ['', ''];
  const print = (text: string): void => void (stdout += text);
  const io = { args: ['client', ...args], env: {}, stdout: print, stderr: (text: string) => void (stderr += text) };
  const code = await runMain('main.ts', { client: clientCommands(print) }, io);
  return { code, stdout, stderr };
}
const asked = (...args: string[]) => client(...args, '--registry', system.registry, '--patience', '10s');
const json = async (...args: string[]): Promise<Record<string, unknown>> =>
  JSON.parse((await asked(...args, '--json')).stdout) as Record<string, unknown>;

describe('the client', () => {
  it('uploads, finds, describes and downloads a picture', async () => {
    const { code, stdout } = await asked('upload', file, '--keywords', 'lake,boats');
    const id = stdout.slice(0, 20);
    expect([code, stdout]).toEqual([0, `${id}  ${(picture.length / 1024).toPrecision(3)} KiB\n`]);
    await system.tagged(id);
    expect((await asked('upload', '--keywords', 'lake,boats', file)).stdout).toMatch(`${id}  `);
    expect(await json('upload', file, '--keywords', 'lake', '--keywords', 'boats')).toMatchObject({
      id,
      known: true,
      sentBytes: 0,
    });
    expect(await json('search', 'LAKE', 'boats')).toMatchObject([
      { id, fileName: 'harbour.jpg', state: 'tagged', width: 64, height: 48 },
    ]);
    expect((await asked('list')).stdout).toMatch(new RegExp(`${id}.*harbour\\.jpg.*lake, boats.*tagged`));
    expect((await asked('status', id)).stdout).toMatch(/^keywords +lake, boats$/m);
    const to = join(system.folder, 'to');
    const { path, tagged } = await json('download', id, '--to', to);
    expect([path, tagged]).toEqual([join(to, `harbour-${id}.jpg`), true]);
    expect((await asked('download', id, '--to', to, '--original')).stdout).toMatch(
      /harbour-.*-original\.jpg {2}.*, the original\n$/,
    );
    expect(await readFile(join(to, `harbour-${id}-original.jpg`))).toEqual(picture);
  });

  it('tells of the servers', async () => {
    expect((await asked('servers')).stdout).toMatch(/^svc-1 {2}127\.0\.0\.1:\d+ {2}\d clients?( {2}leads)?\nsvc-2 /);
  });

  it('says that nothing was found', async () => {
    expect(await asked('search', 'nowhere')).toEqual({ code: 0, stdout: 'no pictures\n', stderr: '' });
    expect(await json('search', 'nowhere')).toEqual([]);
  });

  it.each([
    [
      'a file that is no picture',
      ['upload', import.meta.filename, '--keywords', 'x'],
      1,
      /^This is not a JPEG.* \(INVALID_ARGUMENT\)\n$/,
    ],
    ['an unknown id', ['status', 'a'.repeat(20)], 1, /^there is no picture a{20} \(NOT_FOUND\)\n$/],
    ['no id at all', ['download', '../x'], 1, /^the id is "\.\.\/x": .* \(INVALID_ARGUMENT\)\n$/],
    ['a file that is not there', ['upload', '/no/file.jpg', '--keywords', 'x'], 2, /^ENOENT[^\n]*\n$/],
    ['a folder that cannot be made', ['download', 'a'.repeat(20), '--to', import.meta.filename], 2, /^EEXIST[^\n]*\n$/],
  ])('refuses %s in one line', async (_, args, code, sentence) => {
    const ended = await asked(...args);
    expect([ended.code, ended.stdout]).toEqual([code, '']);
    expect(ended.stderr).toMatch(sentence);
  });

  it('refuses settings before it asks anybody', async () => {
    expect(await client('upload', '--keywords', 'x')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^FILE is required/) as string,
    });
    expect(await client('uplod')).toMatchObject({ code: 2, stderr: expect.stringContaining('did you mean upload?') as string });
  });

  it('explains itself', async () => {
    expect((await client('--help')).stdout).toMatch(/^Usage: main\.ts client COMMAND \[options\]\n/);
    const { code, stdout } = await client('upload', '--help');
    expect([code, stdout.split('\n')[0]]).toEqual([0, 'Usage: main.ts client upload FILE --keywords VALUE,... [options]']);
  });
});
