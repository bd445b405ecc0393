import { decode } from './messages.ts';

/** In a few words, for traces and stories: what of which path, and in which attempt; a command and its reply by their id. */
export function describeMessage(body: Uint8Array): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const work = ['due', 'drill', 'scrub', 'sweep', 'progress', 'ended', 'drilled'] as const;
  const { head } = decode(bytes, 'command', 'reply', 'stop', ...work);
  const what = 'path' in head ? `${head.kind} ${head.node}/${head.path}` : head.kind;
  const id = 'attempt' in head ? head.attempt : 'id' in head ? head.id : undefined;
  return id === undefined ? what : `${what} of ${id.slice(0, 8)}`;
}
