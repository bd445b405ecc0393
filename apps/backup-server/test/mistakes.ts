/** What must not happen, each as a change that a test sees: `npm run mutants -- backup-server`. Those of the store are in its own list. */
import type { Mistake } from '@lab/testing';

const [requester, manager] = ['src/roles/backup-requester.ts', 'src/roles/nodes-manager.ts'];
const receiving = 'src/transfer/receiving.ts';
const [registry, download] = ['src/domain/registry.ts', 'src/admin/download.ts'];
const [restore, target] = ['src/admin/restore.ts', 'src/admin/target.ts'];

export const mistakes: readonly Mistake[] = [
  {
    rule: 'acknowledges a backup before its outcome is confirmed',
    file: requester,
    right: "await broker.publish({ routingKey: queueOf.outcomes, body: encode({ kind: 'ended'",
    wrong: "void broker.publish({ routingKey: queueOf.outcomes, body: encode({ kind: 'ended'",
  },
  {
    rule: 'reports as failed what it broke off to stop',
    file: requester,
    right: 'if (this.#stopping) throw error;',
    wrong: '',
  },
  {
    rule: 'makes no room at once when the disk is full',
    file: requester,
    right: 'await this.#sweep(0).catch(',
    wrong: 'await Promise.resolve().catch(',
  },
  {
    rule: 'takes a blob that nobody asked for',
    file: receiving,
    right: 'if (this.#asked.get(blob.hash) !== blob.bytes)\n        throw',
    wrong: 'if (false)\n        throw',
  },
  {
    rule: 'makes a version of a manifest whose blobs did not come',
    file: receiving,
    right: 'if (stored === undefined) throw',
    wrong: 'if (false) throw',
    noBug: 'Its size, which is looked at next, is not what the manifest says: a blob that is not there has none.',
  },
  {
    rule: 'believes the checksum that comes with a manifest',
    file: receiving,
    right: 'if (this.#checksum.digest() !== checksum) throw',
    wrong: 'if (false) throw',
  },
  {
    rule: 'believes a node that nothing has changed since it does not know when',
    file: receiving,
    right: 'if (!this.#mayBeUnchanged) throw',
    wrong: 'if (false) throw',
  },
  {
    rule: 'lets a node get past its quota by trying again',
    file: 'src/transfer/quota.ts',
    right: '(await versions) + this.#sum((each) => each.node === node)',
    wrong: 'await versions',
  },
  {
    rule: 'asks a damaged version whether anything has changed',
    file: requester,
    right: '(await store.missingOf(version)).length === 0;',
    wrong: 'true',
  },
  {
    rule: 'asks for what another process has just brought',
    file: receiving,
    right: 'this.#asked.has(hash) || !this.#store.lacks(hash)',
    wrong: 'this.#asked.has(hash)',
  },
  {
    rule: 'answers a registration before it is on disk',
    file: manager,
    right: 'await this.#save((registry) => register(',
    wrong: 'void this.#save((registry) => register(',
  },
  {
    rule: 'does what it has answered that it could not',
    file: manager,
    right: 'await this.#parts.file.save({ tasks: saved(change(this.#registry)), scrub: this.#scrub });',
    wrong:
      'this.#registry = change(this.#registry);\n      await this.#parts.file.save({ tasks: saved(this.#registry), scrub: this.#scrub });',
  },
  {
    rule: 'unregisters in memory first, and on disk when it comes to it',
    file: manager,
    right: 'await this.#save((registry) => unregister(registry, named));',
    wrong: 'this.#registry = unregister(this.#registry, named);\n      this.#changed = true;',
  },
  {
    rule: 'forgets the versions of what could not be unregistered',
    file: 'src/roles/server.ts',
    right: '(await this.#ask({ ...command, forget: hasMore })) as Key;',
    wrong:
      '(await this.#ask({ ...command, forget: hasMore }).catch((error: unknown) => {\n      if (!hasMore) throw error;\n      return pathKey(command);\n    })) as Key;',
  },
  {
    rule: 'registers again what was unregistered while it was due',
    file: manager,
    right: 'for (let task; (task = dueTasks(this.#registry, now).find((each) => keyOf(each) !== except)) !== undefined;) {',
    wrong: 'for (const task of dueTasks(this.#registry, now)) {',
  },
  {
    rule: 'waits until the time of day is again what it was',
    file: manager,
    right: 'if (now.dayMs < this.#seenMs) {',
    wrong: 'if (nowMs < 0) {',
  },
  {
    rule: 'lets two nodes managers have the registry',
    file: manager,
    right: 'await consumeAlone(this.#parts, queueOf.commands,',
    wrong: 'await broker.consume(queueOf.commands,',
  },
  {
    rule: 'takes the late end of an attempt that was given up',
    file: registry,
    right: 'if (task === undefined || task.current?.attempt !== attempt) return registry;',
    wrong: 'if (task?.current === undefined) return registry;',
  },
  {
    rule: 'never asks again for what a silent requester had',
    file: registry,
    right: 'clockMs - current.heardMs > (isGone(current) ? silenceMsMax : queuedMs)',
    wrong: 'clockMs < 0',
  },
  {
    rule: 'takes for lost what waits in a long queue',
    file: registry,
    right: '(isGone(current) ? silenceMsMax : queuedMs)',
    wrong: 'silenceMsMax',
  },
  {
    rule: 'lets one node have all places of a requester',
    file: registry,
    right: '(ofNodes.get(node)?.length ?? 0) < triesMax.ofNode',
    wrong: 'true',
  },
  {
    rule: 'lets paths that fail have all places of a requester',
    file: registry,
    right: '|| ofFailed < triesMax.ofFailed',
    wrong: '|| ofFailed < Infinity',
  },
  {
    rule: 'forgets over a restart what was under way',
    file: registry,
    right: 'map(({ current, ...task }) => ({',
    wrong: 'map(({ current, ...task }) => ({ current,',
  },
  { rule: 'tries a failed node every second for ever', file: registry, right: '2 ** Math.min(failures - 1, 30)', wrong: '1' },
  {
    rule: 'replaces an unreadable registry by an empty one',
    file: manager,
    right: 'if (this.#isUnreadable) throw',
    wrong: 'if (false) throw',
  },
  {
    rule: 'counts by the clock which versions are the newest',
    file: 'src/domain/retention.ts',
    right: '.reverse();',
    wrong: '.sort((a, b) => b.createdMs - a.createdMs);',
  },
  {
    rule: 'writes over what begins otherwise',
    file: target,
    right: 'if (there.compare(bytes, 0, there.length) !== 0) throw',
    wrong: 'if (false) throw',
  },
  {
    rule: 'goes through a link that is there',
    file: restore,
    right: "entry?.type === 'folder' && stats.isDirectory()",
    wrong: "entry?.type === 'folder'",
  },
  {
    rule: 'takes what is there of a file for what it should be',
    file: restore,
    right: 'if (bytesRead < bytes || hashOf(buffer) !== hash) return undefined;',
    wrong: '',
  },
  {
    rule: 'leaves half of a damaged file for all of it',
    file: restore,
    right: 'if (damaged === undefined) target.discard(path, at);',
    wrong: '',
  },
  {
    rule: 'goes into what is mounted below a path',
    file: 'src/tree/tree.ts',
    right: '!this.#oneFileSystem || device === top.device',
    wrong: 'true',
  },
  {
    rule: 'goes by times that every program can set',
    file: 'src/tree/file-cache.ts',
    right: '`${size} ${mtimeNs} ${ctimeNs} ${ino}`',
    wrong: '`${size} ${mtimeNs} ${ino}`',
  },
  {
    rule: 'lets a sweep take what an admin is restoring',
    file: 'src/roles/store-commands.ts',
    right: 'this.#endReading = await store.beginReading(version);',
    wrong: '',
  },
  {
    rule: 'lets a node ask the server',
    file: 'src/hosts.ts',
    right: 'isAdmin(identity) ? keyFor(master, identity) : undefined',
    wrong: 'keyFor(master, identity)',
  },
  {
    rule: "shows one node's key to another",
    file: 'src/hosts.ts',
    right: 'identity, key: keyFor(master, identity) }, network)',
    wrong: "identity, key: keyFor(master, 'node-') }, network)",
  },
  {
    rule: 'takes its own key for that of everybody',
    file: 'src/channel/keys.ts',
    right: 'if (identity === wanted) return bytes;',
    wrong: 'if (wanted.length > 0) return bytes;',
  },
  {
    rule: 'takes the damaged copy that came along for the only one',
    file: download,
    right: 'const blobs = all',
    wrong: "if (all.includes(undefined)) throw new DamagedError('');\n  const blobs = all",
  },
];
