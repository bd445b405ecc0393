/** Mistakes, each against a rule of DESIGN.md, that a test must find: `npm run mutants -- image-tagging`. */
import type { Mistake } from '@lab/testing';

const [server, receipt, presence] = ['src/roles/server.ts', 'src/roles/receipt.ts', 'src/roles/presence.ts'];
const [worker, leader, incoming] = ['src/roles/worker.ts', 'src/roles/leader.ts', 'src/roles/incoming.ts'];
const [store, catalog, members] = ['src/store/picture-store.ts', 'src/domain/catalog.ts', 'src/group-catalog.ts'];

export const mistakes: readonly Mistake[] = [
  {
    rule: 'answers before the broker has the job',
    file: server,
    right: 'await this.#publishJob(upload.id, upload.keywords);',
    wrong: 'void this.#publishJob(upload.id, upload.keywords).catch(() => {});',
  },
  {
    rule: 'answers before the group knows',
    file: server,
    right: `const outcome = await members.tell({ type: 'picture-uploaded', upload });
    if (outcome !== 'new' && outcome !== 'known')
      throw new Refusal('exists', \`the key belongs to another upload, \${upload.id}: choose another key\`);
    if (members.catalog.picture(upload.id)?.state ===`,
    wrong: `void members.tell({ type: 'picture-uploaded', upload }).catch(() => {});
    const outcome = 'new';
    if ('pending' ===`,
  },
  {
    rule: 'publishes no job for a picture that is known',
    file: server,
    right: "if (members.catalog.picture(upload.id)?.state === 'pending')",
    wrong: "if (outcome === 'new')",
  },
  {
    rule: 'counts a client whose upload is over',
    file: server,
    right: '      incoming.stop();\n      this.#presence.count(-1);',
    wrong: '      incoming.stop();',
  },
  {
    rule: 'relies on a picture that it finds without a sync',
    file: receipt,
    right: 'if (stored !== undefined) await store.sync(id);\n    else {',
    wrong: 'if (stored === undefined) {',
  },
  {
    rule: 'answers one upload with another that has its key',
    file: receipt,
    right: 'if (!isSameUpload(stored, header))',
    wrong: 'if (false)',
  },
  { rule: 'checks no hash', file: receipt, right: 'if (sha256 !== header.sha256) {', wrong: 'if (false) {' },
  {
    rule: 'refuses a right picture for what an earlier try has left',
    file: receipt,
    right: 'if (partial.storedBytes === 0) throw',
    wrong: 'if (partial.storedBytes >= 0) throw',
  },
  { rule: 'renames before the bytes are safe', file: store, right: '    await this.#handle.sync();\n', wrong: '' },
  { rule: 'renames and syncs no folder above', file: store, right: '    await syncPicture(target, disk);\n', wrong: '' },
  {
    rule: 'takes over the bytes of another upload',
    file: store,
    right: 'const name = `${sha256}-${bytes}-`;',
    wrong: "const name = '';",
  },
  {
    rule: 'writes into the file of an earlier try',
    file: store,
    right: 'const own = join(folder, `${name}${this.#newId()}`);',
    wrong: `const own = longest?.path ?? join(folder, \`\${name}\${this.#newId()}\`);
    if (longest !== undefined) await this.#disk.rm(join(own, 'data'), { force: true });`,
  },
  {
    rule: 'links a result before its file is safe',
    file: store,
    right: '      await syncName(output, this.#disk);\n',
    wrong: '',
  },
  { rule: 'takes a result that it finds for safe', file: store, right: '    await syncName(path, this.#disk);\n', wrong: '' },
  {
    rule: 'lets the last result count',
    file: store,
    right: "const decided = await createOnce(join(this.#folderOf(id), 'result.json'), text, this.#disk);",
    wrong: "const decided = text;\n    await replaceFile(join(this.#folderOf(id), 'result.json'), text, this.#disk);",
  },
  {
    rule: 'acknowledges before the result is stored',
    file: worker,
    right: '(delivery) => this.#handle(delivery), {',
    wrong: '(delivery) => void this.#handle(delivery).catch(() => {}), {',
  },
  {
    rule: 'acknowledges before the group knows the result',
    file: worker,
    right: 'await members.tell(resultEvent(job.id, result));',
    wrong: 'void members.tell(resultEvent(job.id, result)).catch(() => {});',
  },
  {
    rule: 'gives a job back for what is not its fault',
    file: worker,
    right: 'worthwhile: (error) => !(error instanceof PoisonError),',
    wrong: 'worthwhile: () => false,',
  },
  { rule: 'fails a picture for one death', file: worker, right: 'const deathsMax = 10;', wrong: 'const deathsMax = 1;' },
  {
    rule: 'makes another result where there is one',
    file: worker,
    right: '(await store.result(job.id)) ?? (await this.#decide(job, upload, deaths));',
    wrong: 'await this.#decide(job, upload, deaths);',
    noBug: 'The one that was linked first counts all the same; this saves the work.',
  },
  {
    rule: 'tells the group of what is not safe',
    file: leader,
    right: '      await store.sync(id);\n',
    wrong: '',
  },
  {
    rule: 'passes over a picture for a folder in trouble',
    file: leader,
    right: "if (error instanceof Error && 'syscall' in error) throw error;",
    wrong: '',
  },
  { rule: 'publishes nothing of a server that is gone', file: leader, right: '!(isNew || lost)', wrong: '!isNew' },
  {
    rule: 'publishes nothing of a leader that is gone',
    file: leader,
    right: '      await this.#republish(signal);\n',
    wrong: '',
  },
  { rule: 'forgets what only the folder has', file: leader, right: '      await this.#reconcile(signal);\n', wrong: '' },
  {
    rule: 'takes a name for the one who had it before',
    file: presence,
    right: 'self === undefined || self === this.#self)',
    wrong: 'self === undefined || this.#self !== undefined)',
  },
  {
    rule: 'tells no number that has changed meanwhile',
    file: presence,
    right: '      this.#telling = false;\n      this.#tellClients();',
    wrong: '      this.#telling = false;',
  },
  {
    rule: 'tells a number once, heard or not',
    file: presence,
    right: 'withinMs: Infinity, pauseMs: againMs',
    wrong: 'withinMs: 0, pauseMs: againMs',
    noBug: 'A group on RabbitMQ sends again itself what nobody has read; on Spread it is needed.',
  },
  { rule: 'waits for a silent client for ever', file: incoming, right: '>= idleMs)', wrong: '=== Infinity)' },
  {
    rule: 'lets the last result of a picture be known',
    file: catalog,
    right: "if (picture?.state !== 'pending') return;",
    wrong: 'if (picture === undefined) return;',
  },
  {
    rule: 'gives newcomers no servers',
    file: catalog,
    right: 'this.#servers = new Map((saved?.servers ?? []).map((server) => [server.id, server]));',
    wrong: 'this.#servers = new Map();',
  },
  {
    rule: 'gives up an event whose fate is unknown',
    file: members,
    right: 'error instanceof IndefiniteError && !this.#stopped',
    wrong: 'false',
    noBug: 'On RabbitMQ a member that keeps up learns what became of all that it has told; on Spread it may not.',
  },
];
