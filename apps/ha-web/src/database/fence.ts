/**
 * The fence around a database: what keeps clients from it while it is not the primary. Safety does not hang on it, that comes from the record and semi-sync; it
 * makes clients look elsewhere at once, and keeps them from reading what is old.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import type { Door } from './port.ts';
import { feed } from './command.ts';

export interface FenceOptions {
  readonly peerAddress: string;
  readonly backupAddress?: string | undefined;
  /** Followed by keepalived: 0 where this machine is to hold the floating address, otherwise 1. */
  readonly primaryFile: string;
  readonly aliveFile: string;
}

const databasePort = 3306;

/**
 * Both directions, so that what is under way is cut, too. Chains of the table `mangle`, which nothing else uses here. Only the kernel's own farewell passes, FIN or RST
 * of a killed server: with it clients know at once.
 */
function rules({ peerAddress, backupAddress }: FenceOptions, closed: boolean): string {
  const admitted = [peerAddress, ...(backupAddress === undefined ? [] : [backupAddress])];
  const drops = [
    ...admitted.flatMap((address) => [`-A FENCE-IN -s ${address} -j RETURN`, `-A FENCE-OUT -d ${address} -j RETURN`]),
    '-A FENCE-IN -i lo -j RETURN',
    '-A FENCE-OUT -o lo -j RETURN',
    '-A FENCE-OUT -p tcp --tcp-flags FIN FIN -j RETURN',
    '-A FENCE-OUT -p tcp --tcp-flags RST RST -j RETURN',
    '-A FENCE-IN -j DROP',
    '-A FENCE-OUT -j DROP',
  ];
  return [
    '*mangle',
    ':PREROUTING ACCEPT',
    ':OUTPUT ACCEPT',
    ':FENCE-IN -',
    ':FENCE-OUT -',
    '-F PREROUTING',
    '-F OUTPUT',
    `-A PREROUTING -p tcp --dport ${databasePort} -j FENCE-IN`,
    `-A OUTPUT -p tcp --sport ${databasePort} -j FENCE-OUT`,
    ...(closed ? drops : []),
    'COMMIT',
    '',
  ].join('\n');
}

/** The filter first, then the address; the other way round to open: whoever finds the address finds an open door. */
export class Fence implements Door {
  readonly #options: FenceOptions;
  #left: 'unknown' | boolean = 'unknown';

  constructor(options: FenceOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    if (await this.#isAlready(true)) return;
    await this.#filter(false);
    await this.#tell(true);
  }

  async close(): Promise<void> {
    if (await this.#isAlready(false)) return;
    await Promise.all([this.#filter(true), this.#tell(false)]);
  }

  async watched(): Promise<void> {
    const { aliveFile } = this.#options;
    // Whole at any moment: an agent may be stopped for ever in the middle of it.
    await writeFile(`${aliveFile}.next`, `${process.pid} ${uptime()}\n`);
    await rename(`${aliveFile}.next`, aliveFile);
  }

  /** This process left it so, and no other has changed it since; keepalived closes it, too, when it starts. */
  async #isAlready(open: boolean): Promise<boolean> {
    return this.#left === open && (await isOpen(this.#options.primaryFile)) === open;
  }

  /** keepalived looks whenever the file is written. */
  async #tell(open: boolean): Promise<void> {
    await writeFile(this.#options.primaryFile, open ? '0\n' : '1\n');
    this.#left = open;
  }

  /** All rules at once. `-w`: another process may be at it. */
  #filter(closed: boolean): Promise<void> {
    return feed('iptables-restore', ['--noflush', '--wait', '5'], rules(this.#options, closed));
  }
}

export async function isOpen(primaryFile: string): Promise<boolean> {
  return (await readFile(primaryFile, 'utf8').catch(() => '1')).trim() === '0';
}

/** Kills the server whose number is in the file. Returns whether there was one. */
export async function killServer(pidFile: string): Promise<boolean> {
  return kill(pidFile, (name) => name === 'mariadbd', 'comm');
}

/** For how long an agent has said nothing, by the kernel's clock, which nobody sets. For ever, where there is no whole word of one. */
export async function agentSilentMs(aliveFile: string): Promise<number> {
  const [, saidAt = ''] = (await readFile(aliveFile, 'utf8').catch(() => '')).split(' ');
  return saidAt === '' ? Infinity : (uptime() - Number(saidAt)) * 1_000;
}

/** Kills the agent that wrote the file last. */
export async function killAgent(aliveFile: string): Promise<boolean> {
  return kill(aliveFile, (words) => words.split('\0').includes('db-agent'), 'cmdline');
}

/** A number may be another process' by now: what it is stands in the file of /proc. */
async function kill(pidFile: string, isIt: (what: string) => boolean, file: 'comm' | 'cmdline'): Promise<boolean> {
  const pid = Number.parseInt(await readFile(pidFile, 'utf8').catch(() => ''));
  if (!(pid > 1)) return false;
  const what = await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
  if (!isIt(what.trim())) return false;
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    // It ended meanwhile.
    return false;
  }
}
