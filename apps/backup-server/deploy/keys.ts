/** The keys of compose.yaml: the master, and each node its own. */
import { join } from 'node:path';
import { keyText, makeKey, type Key } from '../src/channel/keys.ts';

/** The master key of `npx nx up`, made once; nodes in containers get their own only. */
export const keyFile = join(import.meta.dirname, '../../../tmp/backup-server/key');

const nodes = [1, 2, 3, 4, 5, 6, 7, 8];

export const keysForCompose = (master: Key): Record<string, string> => ({
  LAB_KEY_MASTER: keyText(master),
  ...Object.fromEntries(nodes.map((node) => [`LAB_KEY_NODE_${node}`, keyText(makeKey(master, `node-node-${node}`))])),
});
