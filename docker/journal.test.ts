import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Journal, journalFile, type JournalLine } from './journal.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lab-journal-'));
});
afterEach(() => rm(folder, { recursive: true }));

const lines = async (): Promise<JournalLine[]> =>
  (await readFile(join(folder, journalFile), 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as JournalLine);

it('says what struck whom, and when that ended, also where nobody began it', async () => {
  const journal = new Journal(folder);
  const id = journal.struck('rabbitmq', 'slow', 'slow by 200ms');
  journal.ended('rabbitmq', 'healed', id);
  journal.ended('counter-1', 'started');
  expect(await lines()).toMatchObject([
    { event: 'struck', id, target: 'rabbitmq', verb: 'slow', what: 'slow by 200ms' },
    { event: 'ended', id, target: 'rabbitmq', what: 'healed' },
    { event: 'ended', target: 'counter-1', what: 'started' },
  ]);
});

it('begins anew when it is asked to, and when it is too large', async () => {
  const journal = new Journal(folder);
  journal.struck('rabbitmq', 'pause', 'paused');
  journal.begin();
  expect(await lines()).toEqual([]);
  await writeFile(join(folder, journalFile), `${'x'.repeat(1024 * 1024)}\n`);
  journal.ended('rabbitmq', 'unpaused');
  expect(await lines()).toHaveLength(1);
});

it('keeps nobody from starting a system or from ending a fault, where it cannot be written', async () => {
  await writeFile(join(folder, 'tmp'), 'a file, where the folder should be');
  using said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  new Journal(folder).begin();
  new Journal(folder).ended('rabbitmq', 'unpaused');
  expect(said.mock.calls.flat()).toEqual(Array(2).fill(expect.stringMatching(/not written down: E/)));
});
