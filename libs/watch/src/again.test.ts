import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { askedFaults, runAgain, simulatorOf } from './again.ts';
import { readRecording, type Recording } from './recording.ts';

const app = join(import.meta.dirname, '../../../apps/word-count');
let recording: Recording;
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lab-watch-'));
  const file = join(folder, 'run.jsonl');
  await promisify(execFile)(process.execPath, ['test/simulate.ts', '--seed', '3', '--events', file], { cwd: app });
  recording = readRecording(await readFile(file, 'utf8'), file);
  await rm(folder, { recursive: true });
});

describe('a recording that is run again', () => {
  it('has a simulator in the folder of its app, and only there', () => {
    expect(simulatorOf(recording, app)).toBe(join(app, 'test/simulate.ts'));
    expect(simulatorOf(recording, join(app, '../bike-analytics'))).toBeUndefined();
    expect(simulatorOf({ ...recording, scenario: undefined }, app)).toBeUndefined();
  });

  it('is the same with the same faults, and has none without any', async () => {
    const struck = recording.events.filter((event) => event.type === 'fault');
    const again = await runAgain(join(app, 'test/simulate.ts'), recording, struck);
    expect(JSON.stringify(again.events.slice(1))).toBe(JSON.stringify(recording.events.slice(1)));
    const calm = await runAgain(join(app, 'test/simulate.ts'), recording, []);
    expect(calm.events.filter(({ type }) => type === 'fault')).toEqual([]);
    expect(calm.events.at(-1)).toMatchObject({ type: 'promise', detail: '' });
  });

  it('refuses a fault that is none, and what is no list of faults', async () => {
    const run = runAgain(join(app, 'test/simulate.ts'), recording, [{ key: 'counter.1 melts', arg: 1 }]);
    await expect(run).rejects.toThrow('"counter.1 melts" ends with no kind of fault');
    expect(askedFaults.safeParse({ faults: [{ key: 'x', arg: -1 }] }).success).toBe(false);
  });
});
