/** The page as one document, with script, style and recording inside: what is served is what is saved, and it needs nothing else. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { sampleRecording, type Recording } from './recording.ts';

const folder = join(import.meta.dirname, 'page');

/** A saved file is at most so large: what is usual for an attachment, and a browser has it at once. */
export const savedBytesMax = 5 * 1024 * 1024;

/** What all documents have: the page without a recording. */
export interface Template {
  readonly html: string;
  readonly script: string;
  readonly style: string;
}

export async function makeTemplate(): Promise<Template> {
  const [html, style, bundle] = await Promise.all([
    readFile(join(folder, 'index.html'), 'utf8'),
    readFile(join(folder, 'style.css'), 'utf8'),
    build({
      entryPoints: [join(folder, 'main.tsx')],
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
  return { html, style, script: bundle.outputFiles[0]!.text.replaceAll('</script', '<\\/script') };
}

/**
 * The page of this recording. Its policy lets nothing run but its own script, and loads nothing from anywhere. Behind it there may be a server that runs the recording again, or that tells how
 * it goes on.
 */
export function documentOf({ html, script, style }: Template, recording: Recording, server?: 'again' | 'live'): string {
  const policy = [
    ...(server === undefined ? [] : ["connect-src 'self'"]),
    "default-src 'none'",
    `script-src ${sourceOf(script)}`,
    `style-src ${sourceOf(style)}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  // In JSON this is the same, and ends no element.
  const data = JSON.stringify(recording).replaceAll('<', '\\u003c');
  return html
    .replace('<html', () => (server === undefined ? '<html' : `<html data-${server}`))
    .replace('<head>', () => `<head>\n    <meta http-equiv="Content-Security-Policy" content="${policy}" />`)
    .replace(/<style>[^<]*/, () => `<style>${style}`)
    .replace(/(id="recording">)[^<]*/, (_, start: string) => start + data)
    .replace(/<script>[^<]*/, () => `<script>${script}`);
}

const sourceOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** The page as a file of at most `savedBytesMax`: what has no room in it is left out, as `sampleRecording` says. */
export function savedDocument(template: Template, recording: Recording): string {
  const bytesOf = (text: string): number => Buffer.byteLength(text);
  const room = savedBytesMax - bytesOf(documentOf(template, { ...recording, events: [] }));
  for (let charactersMax = room; ; charactersMax = Math.floor(charactersMax * 0.8)) {
    const saved = documentOf(template, sampleRecording(recording, charactersMax));
    // Letters beyond ASCII are more than a byte.
    if (bytesOf(saved) <= savedBytesMax) return saved;
  }
}
