/** What an operator does by hand on a database machine: shows how things are, and asks for what the agents do by themselves only after a fault. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connectZookeeper, UnavailableError, type Discovery } from '@lab/discovery';
import { ExitError, exitCodes, retry, systemClock, type Clock } from '@lab/process';
import type { z } from 'zod';
import type * as config from '../config.ts';
import type { DatabaseRecord } from '../database/domain/next-step.ts';
import { takeoverMs, type AgentStatus } from '../database/domain/agent-status.ts';
import { killServer } from '../database/fence.ts';
import { askJson } from '../looking.ts';
import { foldersOf, pidFile, type Folders } from '../database/folders.ts';

export interface OperatorParts {
  readonly name: string;
  readonly peerName: string;
  readonly ownAgent: string;
  readonly peerAgent: string;
  /** Rejects with `UnavailableError` while ZooKeeper is away. */
  readonly discovery: Promise<Discovery>;
  readonly folders: Folders;
  readonly clock: Clock;
  readonly print: (line: string) => void;
}

/** After a takeover or a failover it passes by itself: that one starts anew, and fetches what it has missed. */
const notYet = 'not in sync, and may not take over, until it has caught up';
/** As long as its data are large. */
const fillMs = 3_600_000;
/** An operator would rather know soon that ZooKeeper, or the agent, is away. */
const operatorMs = 10_000;
const askMs = 300;
const answerMs = 1_000;

export class Operator {
  readonly #parts: OperatorParts;

  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  /** Shows the record and what the agents say of themselves. */
  async verify(): Promise<void> {
    const { print, name, peerName, ownAgent, peerAgent } = this.#parts;
    const found = await this.#record().catch((error: unknown) => {
      if (error instanceof UnavailableError) return error;
      throw error;
    });
    const record = found instanceof Error ? undefined : found?.record;
    if (found instanceof Error) print('ZooKeeper does not answer: the record is not known');
    else if (record === undefined) print('there is no record of a primary');
    else
      print(
        `epoch ${record.epoch}: ${record.primary} is the primary, its replica is ${record.replicaInSync ? 'in sync' : notYet}`,
      );
    print(describe(await statusOf(ownAgent), name));
    print(describe(await statusOf(peerAgent), peerName));
  }

  /** This replica, which must be in sync, becomes the primary; the primary may live. */
  async takeover(): Promise<void> {
    const { name, ownAgent } = this.#parts;
    const found = await this.#record();
    if (found?.record.primary === name) throw new ExitError(`${name} is the primary on record`);
    const own = await this.#own();
    if (found === undefined || !found.record.replicaInSync || own.role !== 'replica')
      throw new ExitError(
        `${name} is not in sync: it may not take over until it is, which verify shows; newMaster --force is for when the primary is lost`,
      );
    await fetch(`${ownAgent}/takeover`, { method: 'POST', signal: AbortSignal.timeout(answerMs) });
    await this.#until('primary', takeoverMs);
  }

  /** Without force a takeover. With it this database becomes the primary as it is: what only the other one has is lost to clients. */
  async newMaster(force: boolean): Promise<void> {
    if (!force) return this.takeover();
    const { name, peerName, peerAgent, folders, print } = this.#parts;
    if ((await statusOf(peerAgent))?.role === 'primary')
      throw new ExitError(`${peerName} is the primary and is alive: stop that machine first`);
    if (existsSync(folders.emptyFile)) throw new ExitError(`${name} has no data: fill it by initSlave, or restore a backup`);
    const own = await this.#own();
    const found = await this.#record();
    const next: DatabaseRecord = {
      epoch: Math.max(found?.record.epoch ?? 0, own.dataEpoch) + 1,
      primary: name,
      replicaInSync: false,
      replicaBootId: '',
    };
    await this.#write(next, found?.version);
    print(
      `${name} is the primary on record, of epoch ${next.epoch}; what ${peerName} has behind transaction ${own.position} is lost to clients`,
    );
    await this.#until('primary', takeoverMs);
  }

  /** A former primary becomes the replica by itself; this waits for it. */
  async newSlave(): Promise<void> {
    const { name, peerName } = this.#parts;
    if ((await this.#record())?.record.primary === name)
      throw new ExitError(
        `${name} is the primary on record: it becomes the replica when ${peerName} takes over (takeover there)`,
      );
    await this.#until('replica', fillMs);
  }

  /** Fills this database anew from the primary, which must be there. */
  async initSlave(): Promise<void> {
    const { name, ownAgent, peerAgent, folders } = this.#parts;
    const found = await this.#record();
    if (found === undefined || found.record.primary === name)
      throw new ExitError(`${name} is no replica: what it has cannot be had from another database`);
    if ((await statusOf(peerAgent))?.role !== 'primary')
      throw new ExitError(
        `${found.record.primary} is not there: what ${name} has may be all that is left`,
        exitCodes.unavailable,
      );
    const before = await statusOf(ownAgent);
    // From here on there is one copy: nobody may be promoted.
    await this.#write({ ...found.record, replicaInSync: false, replicaBootId: '' }, found.version);
    await writeFile(folders.discardFile, '');
    await killServer(pidFile);
    await this.#until('replica', fillMs, before?.bootId);
  }

  /** What this machine's agent says, which a machine that has just been turned on is only starting. */
  async #own(): Promise<AgentStatus> {
    const { clock, ownAgent } = this.#parts;
    const ask = async (): Promise<AgentStatus> => {
      const own = await statusOf(ownAgent);
      if (own === undefined) throw new ExitError(`${ownAgent} does not answer: try again`, exitCodes.unavailable);
      return own;
    };
    return retry(ask, { clock, withinMs: operatorMs, pauseMs: askMs });
  }

  async #write(record: DatabaseRecord, version: number | undefined): Promise<void> {
    const written = await (await this.#parts.discovery).record('database').write(JSON.stringify(record), version);
    if (written === undefined) throw new ExitError('the record was changed at the same moment: try again', exitCodes.unavailable);
  }

  async #record(): Promise<{ record: DatabaseRecord; version: number } | undefined> {
    const state = await (await this.#parts.discovery).record('database').read();
    return state && { record: JSON.parse(state.text) as DatabaseRecord, version: state.version };
  }

  /** Waits until this database is it, in another life than the given one. */
  async #until(role: AgentStatus['role'], timeoutMs: number, notIn?: string): Promise<void> {
    const { clock, ownAgent, name, print } = this.#parts;
    const status = await retry(
      async () => {
        const found = await statusOf(ownAgent);
        if (found?.role === role && found.bootId !== notIn) return found;
        throw new ExitError(`${name} is no ${role}: ${describe(found, name)}`, exitCodes.unavailable);
      },
      { clock, withinMs: timeoutMs, pauseMs: askMs },
    );
    print(describe(status, name));
  }
}

const statusOf = (agent: string): Promise<AgentStatus | undefined> => askJson(`${agent}/status`, answerMs);

function describe(status: AgentStatus | undefined, name: string): string {
  if (status === undefined) return `${name} does not answer`;
  const { role, lagMs, position, events } = status;
  const lag = lagMs === undefined ? '' : `, ${Math.round(lagMs)} ms late`;
  return `${name}: ${role}${lag}, at transaction ${position ?? 'unknown'}; last: ${events[0]?.text ?? 'nothing'}`;
}

type AgentSettings = z.infer<typeof config.agent>;

export const hosts = {
  verify: (settings: AgentSettings) => operate(settings, (operator) => operator.verify()),
  takeover: (settings: AgentSettings) => operate(settings, (operator) => operator.takeover()),
  newMaster: (settings: z.infer<typeof config.newMaster>) => operate(settings, (operator) => operator.newMaster(settings.force)),
  newSlave: (settings: AgentSettings) => operate(settings, (operator) => operator.newSlave()),
  initSlave: (settings: AgentSettings) => operate(settings, (operator) => operator.initSlave()),
};

async function operate(settings: AgentSettings, work: (operator: Operator) => Promise<void>): Promise<void> {
  const { name, peerName, peerAddress, agentPort, dataFolder, zookeeper } = settings;
  const discovery = connectZookeeper({ servers: zookeeper, connectTimeoutMs: operatorMs });
  discovery.catch(() => undefined);
  const operator = new Operator({
    ...{ name, peerName, discovery, folders: foldersOf(dataFolder), clock: systemClock },
    ownAgent: `http://127.0.0.1:${agentPort}`,
    peerAgent: `http://${peerAddress}:${agentPort}`,
    print: (line) => void process.stdout.write(`${line}\n`),
  });
  try {
    await work(operator);
  } finally {
    await discovery.then(
      (connected) => connected.close(),
      () => undefined,
    );
  }
}
