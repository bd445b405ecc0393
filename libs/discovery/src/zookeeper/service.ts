import type { Instance } from '../port.ts';
import { decodeEndpoint } from '../validate.ts';
import type { Connection } from './connection.ts';
import { numbered, type NumberedName } from './own-node.ts';
import type { Read } from './view.ts';

/** Reads who is announced below a node. What an instance says of itself does not change, so it is read once. */
export function serviceReader(path: string): Read<readonly Instance[]> {
  let seen: { revision: number; value: readonly Instance[] } = { revision: 0, value: [] };
  let known = new Map<string, Instance>();

  return async (connection, watcher) => {
    const places = numbered(await childrenOf(connection, path, watcher));
    const instances = await Promise.all(
      places.map(async (place) => known.get(place.name) ?? readInstance(connection, path, place)),
    );
    const present = new Map<string, Instance>();
    for (const [index, { name }] of places.entries()) {
      const instance = instances[index];
      if (instance) present.set(name, instance);
    }
    const isSame = present.size === known.size && [...present.keys()].every((name) => known.has(name));
    known = present;
    if (!isSame || seen.revision === 0) seen = { revision: seen.revision + 1, value: [...present.values()] };
    return seen;
  };
}

async function childrenOf(connection: Connection, path: string, watcher: (() => void) | undefined): Promise<string[]> {
  const children = await connection.children(path, watcher);
  if (children || !watcher) return children ?? [];
  // What does not exist cannot be watched for children.
  await connection.create(path, Buffer.alloc(0));
  return (await connection.children(path, watcher)) ?? [];
}

/** `undefined` when it has left in the meantime. */
async function readInstance(
  connection: Connection,
  path: string,
  { name, sequence }: NumberedName,
): Promise<Instance | undefined> {
  const node = await connection.data(`${path}/${name}`);
  return node && Object.freeze({ sequence, endpoint: decodeEndpoint(node.data.toString()) });
}
