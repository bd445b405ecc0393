/** The page on the wire, a saved file, and in Chromium how long a step, a redrawing of all lanes and the opening take with 40 processes that send 20,000 messages. `--json FILE` writes the rows. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { explainBench, reportBench, type BenchRow } from '@lab/testing';
import { launchBrowser } from '@lab/testing/chromium';
import { documentOf, makeTemplate, savedDocument } from '../src/document.ts';
import { recordingOf } from '../test/made-run.ts';

explainBench();

const messages = 20_000;
const steps = 200;

const workers = Array.from({ length: 39 }, (_, at) => `worker-${at + 1}`);
const recording = recordingOf(
  ...['reader', ...workers].map((role) => `${role} starts`),
  ...Array.from({ length: messages }, (_, at) => [
    `${at} reader publish jobs: job ${at}`,
    `${at} ${workers[at % 39]} <- jobs: job ${at}`,
    ...(at % 1_000 === 0 ? [`${at} ${workers[at % 39]} fault ack #${at} jobs pauses: 500`] : []),
    `${at} ${workers[at % 39]} acks jobs: job ${at}`,
  ]).flat(),
);

/** A script in the page: presses a key often, and gives the median of how long until the page is laid out again. */
const medianOf = (key: string, count: number): string => `(async () => {
  const times = [];
  for (let at = 0; at < ${count}; at++) {
    const startMs = performance.now();
    dispatchEvent(new KeyboardEvent('keydown', { key: ${JSON.stringify(key)} }));
    await new Promise((resolve) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = resolve; port2.postMessage(0); });
    await new Promise((resolve) => setTimeout(resolve));
    document.body.getBoundingClientRect();
    times.push(performance.now() - startMs);
  }
  return times.sort((a, b) => a - b)[times.length >> 1];
})()`;

const template = await makeTemplate();
const saved = savedDocument(template, recording);
const folder = await mkdtemp(join(tmpdir(), 'lab-watch-'));
const browser = await launchBrowser();
try {
  const file = join(folder, 'run.html');
  await writeFile(file, documentOf(template, recording));
  const page = await browser.newPage({ viewport: { width: 1_440, height: 900 } });
  const startMs = performance.now();
  await page.goto(`${pathToFileURL(file).href}#event=30000`);
  await page.locator('#map [role=button]').first().waitFor();
  const openMs = performance.now() - startMs;
  const stepMs = await page.evaluate<number>(medianOf('ArrowRight', steps));
  const backMs = await page.evaluate<number>(medianOf('ArrowLeft', steps));
  const zoomMs = await page.evaluate<number>(medianOf('+', 5));
  const row = (name: string, value: number, unit: string, max: number | null): BenchRow => ({
    name,
    value,
    unit,
    target: max === null ? null : `<= ${max}`,
    holds: max === null ? null : value <= max,
  });
  await reportBench(
    [
      row('page, gzip', gzipSync(documentOf(template, { ...recording, events: [] }), { level: 9 }).length / 1_024, 'KiB', 80),
      row('saved file', Buffer.byteLength(saved) / 1_024, 'KiB', 5 * 1_024),
      row(`open ${recording.events.length} events`, openMs, 'ms', null),
      row('step forward, 40 processes', stepMs, 'ms', 50),
      row('step back, 40 processes', backMs, 'ms', 50),
      row('zoom, all lanes again', zoomMs, 'ms', 100),
    ],
    process.argv.slice(2),
  );
} finally {
  await browser.close();
  await rm(folder, { recursive: true });
}
