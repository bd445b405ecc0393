/**
 * The page: one document with its script and its style inside, made by esbuild when the server starts. As one document it is never half of one
 * version and half of another while servers are replaced one after the other.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { Serving, type ServingOptions } from './serving.ts';

const folder = join(import.meta.dirname, 'page');

export interface Page {
  html: string;
  /** Content-Security-Policy: nothing runs but what stands in the page itself, and nothing is loaded from elsewhere. */
  policy: string;
}

export async function makePage(): Promise<Page> {
  const [template, style, bundle] = await Promise.all([
    readFile(join(folder, 'index.html'), 'utf8'),
    readFile(join(folder, 'style.css'), 'utf8'),
    build({
      entryPoints: [join(folder, 'main.tsx')],
      // Instead of the folder's tsconfig.json: what that one extends is not on a web machine.
      tsconfigRaw: { compilerOptions: { jsx: 'react-jsx', jsxImportSource: 'preact' } },
      bundle: true,
      minify: true,
      write: false,
      format: 'iife',
      target: 'es2022',
      charset: 'utf8',
    }),
  ]);
  // It would end the element that it stands in.
  const script = bundle.outputFiles[0]!.text.replaceAll('</script', '<\\/script');
  const html = template.replace(/<style>[^<]*/, () => `<style>${style}`).replace(/<script>[^<]*/, () => `<script>${script}`);
  const policy = [
    "default-src 'none'",
    `script-src ${sourceOf(script)}`,
    `style-src ${sourceOf(style)}`,
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join('; ');
  return { html, policy };
}

const sourceOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** The web server of the page. */
export async function makeFrontend(options: ServingOptions): Promise<Serving> {
  const { html, policy } = await makePage();
  const zipped = gzipSync(html, { level: 9 });
  const tag = `"${createHash('sha256').update(html).digest('base64url').slice(0, 16)}"`;
  const serving = new Serving(options);
  serving.app.get('/', async ({ headers }, reply) => {
    void reply
      .type('text/html; charset=utf-8')
      // Asked for each time, and sent only when it has changed.
      .headers({ 'cache-control': 'no-cache', etag: tag, vary: 'accept-encoding' })
      .headers({ 'content-security-policy': policy, 'referrer-policy': 'no-referrer' });
    if (headers['if-none-match']?.includes(tag)) return reply.code(304).send();
    if (!/\bgzip\b/.test(headers['accept-encoding'] ?? '')) return reply.send(html);
    return reply.header('content-encoding', 'gzip').send(zipped);
  });
  // Browsers ask for it whatever the page says.
  serving.app.get('/favicon.ico', async (_, reply) => reply.code(204).header('cache-control', 'max-age=86400').send());
  serving.app.setNotFoundHandler(async (_, reply) => reply.code(404).type('text/plain').send('There is only the page, at /\n'));
  return serving;
}
