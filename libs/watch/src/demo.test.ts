import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readRecording, recordingText, type Recording } from './recording.ts';
import { watchDemo } from '../test/watched-demo.ts';

it('a demo with --watch is shown while it runs, stays as a recorded run, and ends at Ctrl-C', async () => {
  await using demo = await watchDemo(join(import.meta.dirname, '../../../apps/word-count'));
  const { url, press } = demo;
  await demo.says('waits for "Go on" on its page: half of the batches');
  expect(await press('kill', 'counter-2')).toBe('counter-2 killed; started again in 30 s');
  expect(await press('kill', 'reader')).toBe('the demo cannot break "reader"; it can counter-1, counter-2\n');
  expect(await press('start', 'counter-2')).toBe('counter-2 started');
  expect(await press('go-on')).toBe('the demo goes on');
  await demo.says('the demo is over');
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
  expect(await demo.interrupt()).toEqual([0, null]);
});
