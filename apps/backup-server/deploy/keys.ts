/** The keys of compose.yaml: the master, and each node its own. */
import { keyText, makeKey, type Key } from '../src/channel/keys.ts';

const nodes = [1, 2, 3, 4, 5, 6, 7, 8];

export const keysForCompose = (master: Key): Record<string, string> => ({
  LAB_KEY_MASTER: keyText(master),
  ...Object.fromEntries(nodes.map((node) => [`LAB_KEY_NODE_${node}`, keyText(makeKey(master, `node-node-${node}`))])),
});
