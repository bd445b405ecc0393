/** What must not happen, each as a change that a test sees: `npm run mutants -- store`. */
import type { Mistake } from '@lab/testing';

const [store, writer, housekeeping] = ['src/store.ts', 'src/pack-writer.ts', 'src/housekeeping.ts'];
const [durable, chunker] = ['src/durable.ts', 'src/chunker.ts'];

export const mistakes: readonly Mistake[] = [
  {
    rule: 'makes a version before its blobs are durable',
    file: store,
    right: 'await this.writer.flush();\n    return this.mutex.run',
    wrong: 'return this.mutex.run',
  },
  {
    rule: 'makes a version of a base that is not the newest',
    file: store,
    right: 'if (newest !== base) throw',
    wrong: 'if (false) throw',
  },
  {
    rule: 'makes a version without a look whether its blobs are there',
    file: store,
    right: 'if (missing.length > 0)\n        throw',
    wrong: 'if (false)\n        throw',
  },
  {
    rule: 'gives a number again after all was forgotten',
    file: store,
    right: '?? 0, (await this.#nameOf(folder)).last)',
    wrong: '?? 0, 0)',
  },
  {
    rule: 'removes other versions than those that were chosen',
    file: store,
    right: 'numbers.filter((number) => chosen.has(number))',
    wrong: 'numbers.filter((number) => !chosen.has(number))',
  },
  {
    rule: 'gives a file its name before it is durable',
    file: durable,
    right: 'await file.writeFile(bytes);\n    await file.sync();',
    wrong: 'await file.writeFile(bytes);',
  },
  {
    rule: 'takes the damaged copy of a record for the whole one',
    file: durable,
    right: "if (!framed || half.toString('latin1', 0, hashLength) !== digest('sha256', text, 'hex')) return undefined;",
    wrong: 'if (!framed) return undefined;',
  },
  {
    rule: 'moves the index before its pack',
    file: writer,
    right:
      'await this.#disk.rename(`${from}.pack`, join(this.#packs, `${id}.pack`));\n    await this.#disk.rename(`${from}.index`, join(this.#packs, `${id}.index`));',
    wrong:
      'await this.#disk.rename(`${from}.index`, join(this.#packs, `${id}.index`));\n    await this.#disk.rename(`${from}.pack`, join(this.#packs, `${id}.pack`));',
  },
  {
    rule: 'says that a blob is kept before what stands before it',
    file: writer,
    right: 'Promise.all([pack.written, own])',
    wrong: 'Promise.all([own])',
  },
  {
    rule: 'keeps the torn end of a pack that a dead writer left',
    file: writer,
    right: 'await file.truncate(last.offset + last.bytes);',
    wrong: '',
  },
  {
    rule: 'says nothing where a pack could not be written',
    file: writer,
    right: 'if (failure !== undefined) throw failure;',
    wrong: '',
  },
  {
    rule: 'sweeps what a version may need whose manifest cannot be read',
    file: housekeeping,
    right: ' || mtimeMs <= sinceMs + timestampMs',
    wrong: '',
  },
  {
    rule: 'sweeps what is being read',
    file: store,
    right: 'for (const { id, record } of await this.writer.readings()) {',
    wrong: 'for (const { id, record } of []) {',
  },
  {
    rule: 'sweeps the only copy of what a version needs, for it is damaged',
    file: housekeeping,
    right: 'if (blobs.some(({ hash }) => home.live.get(hash) === 0)) return [];',
    wrong: '',
  },
  {
    rule: 'takes a version for whole whose pack has gone since',
    file: 'src/blob-index.ts',
    right: ' || gone.some((pack) => !swept.has(pack))',
    wrong: '',
  },
  {
    rule: 'fails where a block cannot be read',
    file: durable,
    right: 'if (!isDiskTrouble(error)) throw error;\n      onTrouble',
    wrong: 'if (isDiskTrouble(error)) throw error;\n      onTrouble',
  },
  {
    rule: 'puts both copies of a record into one block',
    file: durable,
    right: 'blocks * blockBytes)',
    wrong: 'blocks)',
  },
  {
    rule: 'relies on packs of others that are not durable',
    file: store,
    right: "await sync(join(this.directory, 'packs'), this.disk);\n      const missing",
    wrong: 'const missing',
  },
  {
    rule: 'sweeps what a version needs that was made meanwhile',
    file: housekeeping,
    right: "made.live.update((hash) => Number(left.delete(store.index.packOf(hash) ?? '')));",
    wrong: '',
  },
  {
    rule: 'sweeps what is still being transferred',
    file: housekeeping,
    right: ' || mtimeMs >= oldestTransferMs - timestampMs',
    wrong: '',
  },
  {
    rule: 'removes the old pack before the new one is durable',
    file: housekeeping,
    right: 'if (isWhole) doomed.push(state);\n    }\n    await store.writer.flush();',
    wrong: 'if (isWhole) doomed.push(state);\n    }',
  },
  {
    rule: 'finds damage and does not mark it',
    file: housekeeping,
    right: 'for (const hash of hashes) await store.index.mark(pack, hash);',
    wrong: '',
  },
  { rule: 'cuts the same content elsewhere than before', file: chunker, right: 'topBits(bits + 1)', wrong: 'topBits(bits + 2)' },
  {
    rule: 'takes a folder that cannot be read for an empty one',
    file: store,
    right: 'await unlessGone(this.disk.readdir(folder), [])',
    wrong: 'await this.disk.readdir(folder).catch(() => [])',
  },
];
