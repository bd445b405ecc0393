import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { answer, bodyOf, serve } from './server.ts';

/** What a browser cannot be made to say with `fetch`: whom it asks. */
const ask = (
  url: string,
  headers: Record<string, string> = {},
  method = 'GET',
  body = '',
): Promise<{ status: number; body: string }> =>
  new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      let said = '';
      response.on('data', (part: Buffer) => (said += part.toString()));
      response.on('end', () => resolve({ status: response.statusCode!, body: said }));
    });
    sent.on('error', reject).end(body);
  });
const body = z.object({ a: z.number().optional() });
const system = new AsyncDisposableStack();
let url: string;
beforeAll(async () => {
  const served = await serve(
    {
      '': { method: 'GET', handle: (_, response) => answer(response, 200, 'text/html', 'the page') },
      act: {
        method: 'POST',
        handle: async (asked, response) => answer(response, 200, 'text/plain', JSON.stringify(await bodyOf(asked, body))),
      },
    },
    0,
  );
  system.defer(() => served.close());
  url = served.url;
});
afterAll(() => system.disposeAsync());

describe('the server of a page', () => {
  it('has the page at an address that nobody guesses, and nothing elsewhere', async () => {
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/[\w-]{22}\/$/);
    expect((await ask(url)).body).toBe('the page');
    for (const path of ['/', '/act', 'toString', 'act/']) expect((await ask(new URL(path, url).href)).status).toBe(404);
  });

  it.each([
    ['another name', { host: 'evil.example' }, 403],
    ['another site', { origin: 'https://evil.example' }, 403],
    ['a frame or a script of another site', { 'sec-fetch-site': 'cross-site' }, 403],
    ['its own page', { 'sec-fetch-site': 'same-origin' }, 200],
  ])('answers who comes by %s, to look or to act', async (_, headers: Record<string, string>, status) => {
    expect((await ask(url, headers)).status).toBe(status);
    expect((await ask(`${url}act`, headers, 'POST', '{}')).status).toBe(status);
  });

  it('acts by POST alone, and only for who knows the address', async () => {
    expect((await ask(`${url}act`, {}, 'POST', '{"a":1}')).body).toBe('{"a":1}');
    expect((await ask(`${url}act`)).status).toBe(405);
    expect((await ask(url, {}, 'POST')).status).toBe(405);
    expect((await ask(new URL('/act', url).href, {}, 'POST', '{}')).status).toBe(405);
  });

  it('says what is wrong with what it was sent, and reads no more than it can hold', async () => {
    expect(await ask(`${url}act`, {}, 'POST', 'no JSON')).toMatchObject({
      status: 400,
      body: expect.stringContaining('JSON') as string,
    });
    expect(await ask(`${url}act`, {}, 'POST', '{"a":"1"}')).toEqual({
      status: 400,
      body: '✖ Invalid input: expected number, received string\n  → at a\n',
    });
    expect((await ask(`${url}act`, {}, 'POST', `"${'x'.repeat(5 * 1024 * 1024)}"`)).body).toMatch(/more than 4194304 bytes/);
  });
});
