import { expect, it } from 'vitest';
import type { Channel } from '../channel/channel.ts';
import { manifestLine, type Entry } from '../domain/manifest.ts';
import { packBytes, packJson, pieces, type Head } from '../messages.ts';
import { askVersion } from './ask.ts';

it('a version is gone through as often as it is wanted, and holds no entry', async () => {
  const tree: Entry[] = [
    { type: 'folder', path: '', mode: 0o755, mtimeMs: 1 },
    ...['a', 'b', 'caf\u00e9'].map((path): Entry => ({ type: 'link', path, target: 'x', mtimeMs: 2 })),
  ];
  const text = tree.map(manifestLine).join('');
  const [one, other] = [text.slice(0, 100), text.slice(100)];
  const answers: { head: Head; body: Buffer }[] = [
    { head: { kind: 'version' }, body: packJson({ version: 7 }) },
    ...pieces('manifest', one, true),
    ...pieces('manifest', other),
    { head: { kind: 'damaged' }, body: packBytes(Buffer.from([0, 0, 1, 0])) },
  ];
  const channel = { send: async () => {}, expect: async () => answers.shift() } as unknown as Channel;
  const { version, entries, isDamaged } = await askVersion(channel, { node: 'n', path: 'p' });
  expect(version).toEqual({ version: 7 });
  const [once, again] = [[...entries], [...entries]];
  expect(once).toEqual(tree);
  expect(again).toEqual(tree);
  expect(once.every((entry, index) => entry !== again[index])).toBe(true);
  expect(tree.map((_, index) => isDamaged(index))).toEqual([false, false, true, false]);
});
