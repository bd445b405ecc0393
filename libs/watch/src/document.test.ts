import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { recordingOf } from '../test/made-run.ts';
import { documentOf, makeTemplate, savedBytesMax, savedDocument } from './document.ts';
import type { Recording } from './recording.ts';

const template = await makeTemplate();
/** Messages may say anything. */
const recording = recordingOf(
  'reader starts',
  'reader publish jobs: </script><script>alert(1)</script>',
  'reader publish jobs: ü$&',
);
const html = documentOf(template, recording);
const recordingIn = (document: string): Recording =>
  JSON.parse(/id="recording">(.*?)<\/script>/s.exec(document)![1]!) as Recording;

describe('the document', () => {
  it('is below 80 KiB on the wire, without its recording', () => {
    expect(gzipSync(documentOf(template, { ...recording, events: [] })).length).toBeLessThan(80 * 1024);
  });

  it('has one script and one style, and its policy lets no other run and loads nothing', () => {
    const [, policy] = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(html)!;
    for (const element of ['script', 'style']) {
      const [, text] = new RegExp(`<${element}>([\\s\\S]*?)</${element}>`).exec(html)!;
      expect(policy).toContain(`${element}-src 'sha256-${createHash('sha256').update(text!).digest('base64')}'`);
    }
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|connect-src/);
    expect(html).not.toMatch(/<(script|link|img)[^>]*(src|href)="(?!data:)/);
  });

  it('has the recording as it was, whatever messages say', () => {
    expect(recordingIn(html)).toEqual(JSON.parse(JSON.stringify(recording)));
    expect(html.match(/<\/script/g)).toHaveLength(2);
  });

  it('has no type errors, by what a browser has', { timeout: 300_000 }, async () => {
    const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
    await promisify(execFile)(process.execPath, [compiler, '--noEmit', '-p', join(import.meta.dirname, 'page')]);
  });
});

describe('a saved file', () => {
  it('has all of a recording that fits', () => {
    expect(savedDocument(template, recording)).toBe(html);
  });

  it('is at most 5 MB of one that does not, and says so', () => {
    const lines = Array.from({ length: 60_000 }, (_, at) => `${at} reader publish jobs: job ${at} of the größte day`);
    const large = recordingOf(...lines, '60000 reader fault publish #9 jobs late: 5');
    const saved = savedDocument(template, large);
    expect(Buffer.byteLength(saved)).toBeLessThanOrEqual(savedBytesMax);
    expect(Buffer.byteLength(saved)).toBeGreaterThan(savedBytesMax / 4);
    expect(recordingIn(saved)).toMatchObject({ sampledFrom: 60_002 });
    expect(recordingIn(saved).events.slice(-100)).toEqual(JSON.parse(JSON.stringify(large.events.slice(-100))));
  });
});
