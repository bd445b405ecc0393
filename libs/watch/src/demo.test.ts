import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { readRecording, recordingText, type Recording } from './recording.ts';

const app = join(import.meta.dirname, '../../../apps/word-count');

it('a demo with --watch is shown while it runs, stays as a recorded run, and ends at Ctrl-C', async () => {
  const demo = spawn(process.execPath, ['src/main.ts', 'demo', '--watch'], { cwd: app, stdio: ['ignore', 'pipe', 'pipe'] });
  demo.stdout.resume();
  const exit = once(demo, 'exit');
  const lines = createInterface(demo.stderr)[Symbol.asyncIterator]();
  const url = /http:\S+/.exec((await lines.next()).value as string)![0];
  expect((await lines.next()).value).toContain('the demo is over');
  const page = await (await fetch(url)).text();
  expect(page).not.toContain('data-live');
  const recording = JSON.parse(/id="recording">(.*?)<\/script>/s.exec(page)![1]!) as Recording;
  const { events } = readRecording(recordingText(recording), 'demo');
  const told = events.map((event) => ('role' in event ? `${event.role} ${event.type}` : event.type));
  for (const each of ['reader call', 'counter-1 delivery', 'counter-1 end', 'counter-2 settled', 'promise'])
    expect(told).toContain(each);
  const first = told.filter((each) => each.startsWith('counter-1'));
  expect(first.filter((each) => each.endsWith('start'))).toHaveLength(1);
  expect(first.slice(-2)).toEqual(['counter-1 fault', 'counter-1 end']);
  expect(events.some((event) => event.type === 'delivery' && event.role === 'counter-2' && event.redelivered)).toBe(true);
  demo.kill('SIGINT');
  expect(await exit).toEqual([0, null]);
});
