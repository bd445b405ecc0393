import { randomUUID } from 'node:crypto';
import { UnavailableError, type RecordState, type SharedRecord } from '../port.ts';
import { validateText } from '../validate.ts';
import type { Connection } from './connection.ts';
import type { Session } from './session.ts';
import type { Read, View } from './view.ts';

/** Reads a record; its version is its node's. */
export function recordReader(path: string): Read<RecordState> {
  return async (connection, watcher) => {
    const node = await readNode(connection, path, watcher);
    return node && { revision: node.version, value: Object.freeze({ text: node.text, version: node.version }) };
  };
}

export class ZookeeperRecord implements SharedRecord {
  readonly #name: string;
  readonly #path: string;
  readonly #session: Session;
  readonly #view: View<RecordState>;

  constructor(name: string, path: string, session: Session, view: View<RecordState>) {
    this.#name = name;
    this.#path = path;
    this.#session = session;
    this.#view = view;
  }

  read(): Promise<RecordState | undefined> {
    return this.#view.fresh();
  }

  watch(): AsyncIterableIterator<RecordState> {
    return this.#view.watch();
  }

  async write(text: string, version: number | undefined): Promise<number | undefined> {
    validateText(this.#name, text);
    // Tells our write from another's when its answer was lost.
    const nonce = randomUUID();
    let tries = 0;
    return this.#session.run(`to write record "${this.#name}"`, async (connection) => {
      tries++;
      const written = await this.#writeOnce(connection, `${nonce}\n${text}`, version);
      return written === undefined && tries > 1 ? this.#findWritten(connection, nonce, version) : written;
    });
  }

  async #writeOnce(connection: Connection, content: string, version: number | undefined): Promise<number | undefined> {
    if (version !== undefined) return connection.set(this.#path, Buffer.from(content), version);
    const made = await connection.create(this.#path, Buffer.from(content));
    return made === undefined ? undefined : 0;
  }

  /** It was not at this version; the question is whether an earlier try of ours had changed it. */
  async #findWritten(connection: Connection, nonce: string, version: number | undefined): Promise<number | undefined> {
    await connection.sync();
    const node = await readNode(connection, this.#path, undefined);
    if (node?.nonce === nonce) return node.version;
    if (node === undefined || node.version === (version ?? -1) + 1) return undefined;
    throw new UnavailableError(`record "${this.#name}": the answer to a write was lost, and others have written since: read it`);
  }
}

interface RecordNode {
  nonce: string;
  text: string;
  version: number;
}

async function readNode(
  connection: Connection,
  path: string,
  watcher: (() => void) | undefined,
): Promise<RecordNode | undefined> {
  const node = await connection.data(path, watcher);
  if (node) {
    const content = node.data.toString();
    const end = content.indexOf('\n');
    return { nonce: content.slice(0, end), text: content.slice(end + 1), version: node.version };
  }
  // It may have been made since; records are never removed, so that happens once.
  const isThere = watcher !== undefined && (await connection.exists(path, watcher));
  return isThere ? readNode(connection, path, watcher) : undefined;
}
