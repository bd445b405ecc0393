import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { silentLogger, systemClock } from '@lab/process';
import { describe, expect, it } from 'vitest';
import { makeFrontend } from './frontend.ts';

const frontend = await makeFrontend({
  name: 'web-1',
  host: '127.0.0.1',
  port: 0,
  lameDuckMs: 0,
  clock: systemClock,
  log: silentLogger,
});
const get = (headers: Record<string, string> = {}) => frontend.app.inject({ url: '/', headers });

describe('the page', () => {
  it('is one document whose script and style are the only ones that may run', async () => {
    const { body, headers } = await get();
    const policy = String(headers['content-security-policy']);
    for (const element of ['script', 'style']) {
      const [, text] = new RegExp(`<${element}>([\\s\\S]*?)</${element}>`).exec(body)!;
      expect(text!.length).toBeGreaterThan(1_000);
      expect(policy).toContain(`${element}-src 'sha256-${createHash('sha256').update(text!).digest('base64')}'`);
    }
    expect(policy).not.toContain('unsafe');
    expect(body.match(/<\/script/g)).toHaveLength(1);
  });

  it('is small, and sent again only when it has changed', async () => {
    const zipped = await get({ 'accept-encoding': 'gzip, br' });
    expect(zipped.headers['content-encoding']).toBe('gzip');
    // A packet or two more than TCP sends at once.
    expect(zipped.rawPayload.length).toBeLessThan(20_000);
    const again = await get({ 'if-none-match': String(zipped.headers.etag) });
    expect([again.statusCode, again.body]).toEqual([304, '']);
  });

  it('has no type errors, by what a browser has', { timeout: 300_000 }, async () => {
    const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
    await promisify(execFile)(process.execPath, [compiler, '--noEmit', '-p', join(import.meta.dirname, 'page')]);
  });
});
