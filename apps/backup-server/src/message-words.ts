import { decode } from './messages.ts';

/** In a few words, for traces and stories: what of which path. */
export function describeMessage(body: Uint8Array): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const work = ['due', 'drill', 'scrub', 'sweep', 'progress', 'ended', 'drilled'] as const;
  const { head } = decode(bytes, 'command', 'reply', 'stop', ...work);
  return 'path' in head ? `${head.kind} ${head.node}/${head.path}` : head.kind;
}
