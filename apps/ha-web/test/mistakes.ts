/** What must not happen between the two databases, each as a change that `npx nx simulate ha-web` is to find: rules of src/database/domain/next-step.ts, and of who follows them. */
const [agent, record] = ['src/database/roles/db-agent.ts', 'src/database/roles/shared-record.ts'];
const [nextStep, timing] = ['src/database/domain/next-step.ts', 'src/database/domain/timing.ts'];

export const mistakes: readonly { rule: string; file: string; right: string; wrong: string }[] = [
  {
    rule: 'goes on alone though the record may say that its replica is in sync',
    file: agent,
    right: "if (!(await this.#shared.write({ ...this.#shared.record!, replicaInSync: false, replicaBootId: '' }))) return false;",
    wrong: "await this.#shared.write({ ...this.#shared.record!, replicaInSync: false, replicaBootId: '' });",
  },
  {
    rule: 'turns semi-sync off before the record says so',
    file: agent,
    right: 'const { epoch } = this.#shared.record!;\n',
    wrong: 'const { epoch } = this.#shared.record!;\n    await server.setSemiSync(false);\n',
  },
  {
    rule: 'writes the epoch into its data after it is writable',
    file: agent,
    right: 'await server.beginEpoch(epoch, name);\n    await server.setWritable();',
    wrong: 'await server.setWritable();\n    await server.beginEpoch(epoch, name);',
  },
  {
    rule: 'opens the door before the epoch has begun',
    file: agent,
    right: 'await server.beginEpoch(epoch, name);\n    await server.setWritable();\n    await door.open();',
    wrong: 'await server.setWritable();\n    await door.open();\n    await server.beginEpoch(epoch, name);',
  },
  {
    rule: 'fences by the door alone, and lets the server live',
    file: agent,
    right: 'await this.#parts.door.close();\n    await this.#parts.server.kill();',
    wrong: 'await this.#parts.door.close();',
  },
  {
    rule: 'follows without a write of the record before',
    file: agent,
    right: "if (divergence === 'none' && (await this.#shared.rewrite())) await server.follow();",
    wrong: "if (divergence === 'none') await server.follow();",
  },
  {
    rule: 'loads without a write of the record before',
    file: agent,
    right: 'if (await this.#shared.rewrite()) await server.load();',
    wrong: 'await server.load();',
  },
  {
    rule: 'receives again without a write of the record before',
    file: agent,
    right: 'if (await this.#shared.rewrite()) await server.receive();',
    wrong: 'await server.receive();',
  },
  {
    rule: 'becomes empty without a write of the record before',
    file: agent,
    right: 'if (!(await this.#shared.rewrite())) return false;',
    wrong: '',
  },
  {
    rule: 'discards what only it has',
    file: agent,
    right: "if (divergence !== 'none') await this.#save(divergence);",
    wrong: '',
  },
  {
    rule: 'empties itself for a primary that does not have the data',
    file: agent,
    right: "return typeof divergence === 'object' ? this.#empty() : false;",
    wrong: "if (divergence !== 'none') await server.discard();\n    return divergence !== 'none' && this.#fence();",
  },
  {
    rule: 'announces a primary that has lost its data',
    file: agent,
    right: 'if (server.empty && this.#shared.record?.primary === name) return;',
    wrong: '',
  },
  {
    rule: 'takes over within the epoch of another',
    file: agent,
    right: 'epoch: this.#shared.record!.epoch + 1,',
    wrong: 'epoch: this.#shared.record!.epoch,',
  },
  {
    rule: 'writes over a record that it has not seen',
    file: record,
    right: "this.#discovery!.record('database').write(JSON.stringify(record), this.#version)",
    wrong:
      "this.#discovery!.record('database').read().then((now) => this.#discovery!.record('database').write(JSON.stringify(record), now?.version))",
  },
  {
    rule: 'takes a write without an answer for done',
    file: record,
    right: 'if (version === undefined) return false;\n    this.record = record;',
    wrong: 'this.record = record;',
  },
  {
    rule: 'takes over before all that it received is applied',
    file: nextStep,
    right: "return applied < received ? wait('it applies what it has received') : { do: 'takeOver' };",
    wrong: "return { do: 'takeOver' };",
  },
  {
    rule: 'takes over while it receives',
    file: nextStep,
    right: "if (receiving) return { do: 'stopReceiving' };\n  return applied < received",
    wrong: 'return applied < received',
  },
  {
    rule: 'takes over in another life of the server than the record names',
    file: nextStep,
    right: 'const promotable = record.replicaInSync && record.replicaBootId === server.bootId;',
    wrong: 'const promotable = record.replicaInSync;',
  },
  {
    rule: 'takes over though the record does not say that it is in sync',
    file: nextStep,
    right: 'const promotable = record.replicaInSync && record.replicaBootId === server.bootId;',
    wrong: 'const promotable = !server.empty;',
  },
  {
    rule: 'receives again with both threads stopped, and drops what it has',
    file: nextStep,
    right: 'if (!replication.receiving && replication.applying && !replication.differs)',
    wrong: 'if (!replication.receiving && !replication.differs)',
  },
  {
    rule: 'is not fenced when another is the primary on record',
    file: nextStep,
    right: 'if (server.writable || server.semiSync) return fence(',
    wrong: 'if (!contact) return fence(',
  },
  {
    rule: 'follows a second time in one life of the server',
    file: nextStep,
    right: "if (!replication.applying && !promotable) return fence('replication has stopped');",
    wrong: "if (!replication.applying && !promotable) return { do: 'follow' };",
  },
  {
    rule: 'admits a replica by a marker of before semi-sync',
    file: timing,
    right: 'if (!semiSync || this.#confirmed !== replicaBootId) this.#confirmed = undefined;',
    wrong: 'if (this.#confirmed !== replicaBootId) this.#confirmed = undefined;',
  },
  {
    rule: 'admits a replica that has acknowledged no marker',
    file: timing,
    right: 'if (!semiSync || this.#confirmed !== replicaBootId) this.#confirmed = undefined;',
    wrong: 'this.#confirmed = semiSync ? replicaBootId : undefined;',
  },
];
