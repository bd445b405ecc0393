/**
 * Faults of containers, by Docker's command line: what happens to a process, a machine, a cable, a disk or a clock, and its repair. Chaos suites, ha-web's
 * drill and `npx nx break` all do harm by this. What is broken stands in the containers themselves, where `faultsIn` finds it.
 */
import { execFile } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { hasImageOf, serviceImage } from './images.ts';

const execute = promisify(execFile);

/** Most time that a container may take from its start to being healthy; RabbitMQ with queues to recover takes 10 s on a busy machine. */
const healthyMs = 180_000;
const pollMs = 100;
/** Most time that what takes a moment may take. */
const momentMs = 10_000;

/** Runs docker; what it prints. An error carries what it said. */
export async function docker(...args: readonly string[]): Promise<string> {
  const { stdout } = await execute('docker', args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}

/** Runs a script in a container of the image for faults, with these arguments of `docker run`. */
async function inFaultsImage(args: readonly string[], script: string, ...words: readonly string[]): Promise<string> {
  return docker('run', '--rm', ...args, await serviceImage('faults'), 'sh', '-ec', script, 'faults', ...words);
}

/** Whether this kernel can delay packets itself. */
async function kernelHasNetem(): Promise<boolean> {
  return inFaultsImage(['--cap-add', 'NET_ADMIN'], 'tc qdisc add dev lo root netem delay 1ms').then(
    () => true,
    () => false,
  );
}

/** Ours alone, so that repair touches no rule of the system itself. */
const chains = { hears: 'LAB-BREAK-INPUT', sends: 'LAB-BREAK-OUTPUT' } as const;
type Way = keyof typeof chains;
const notLocal = { hears: '! -i lo', sends: '! -o lo' } as const;
/** Any number that nothing else in the container's network uses. */
const queue = 7;
/** Whose packets `delayBy` holds is the label's value. */
const holderLabel = 'lab.break.holds';

/** Chains that are not there yet. What the packet filter says then is of no use to anyone. */
const makeChains = `for way in INPUT OUTPUT; do
  iptables --wait -n -L LAB-BREAK-$way >/dev/null 2>&1 || { iptables --wait -N LAB-BREAK-$way; iptables --wait -I $way -j LAB-BREAK-$way; }
done`;
const removeChains = `for way in INPUT OUTPUT; do
  iptables --wait -D $way -j LAB-BREAK-$way 2>/dev/null || continue
  iptables --wait -F LAB-BREAK-$way
  iptables --wait -X LAB-BREAK-$way
done`;
const devices = `$(ip -o link show up | sed -nE 's/^[0-9]+: ([^:@]+).*/\\1/p' | grep -vx lo)`;
const removeDelay = `for device in ${devices}; do tc qdisc del dev $device root 2>/dev/null || true; done`;

/** How the packets of a container are delayed. */
export type DelayMeans = 'netem' | 'a queue of the packet filter';

/** A container that is done harm to. */
export class Container {
  /** Id or name. */
  readonly id: string;
  constructor(id: string) {
    this.id = id;
  }

  /** SIGKILL: resolves when it is dead. */
  async kill(): Promise<void> {
    await docker('kill', this.id);
  }

  /** SIGTERM, and SIGKILL after 10 s. */
  async stop(): Promise<void> {
    await docker('stop', '--time', '10', this.id);
  }

  /** After `kill` or `stop`: a folder of one of its volumes has nothing in it any more. */
  async empty(folder: string): Promise<void> {
    await inFaultsImage(['--volumes-from', this.id], 'find "$1" -mindepth 1 -delete', folder);
  }

  /** Starts it again after `kill` or `stop`, with its files, address and ports; resolves when it is healthy. */
  async start(): Promise<void> {
    await docker('start', this.id);
    await this.healthy();
  }

  /** Stops it in good order and starts it again; resolves when it is healthy. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Its processes stand still, its connections stay open: a machine that hangs. One that waits for a disk or a mount cannot be stopped at that moment, so it is tried again. */
  async pause(): Promise<void> {
    const deadline = Date.now() + momentMs;
    for (;;) {
      try {
        return void (await docker('pause', this.id));
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await wait(pollMs);
      }
    }
  }

  async unpause(): Promise<void> {
    await docker('unpause', this.id);
  }

  /** All its packets are lost, both ways, or those that it sends; connections stay open: the cable is pulled. `heal` plugs it in. */
  async partition(ways: readonly Way[] = ['hears', 'sends'], name = 'cut from all'): Promise<void> {
    await this.#filter(ways.map((way) => ({ way, name, rule: `${notLocal[way]} -j DROP` })));
  }

  /** What another one sends it is lost, from whichever of its addresses: the rule knows the sender by its network card. */
  async deafTo(other: Container, name: string): Promise<void> {
    const cards = await docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.MacAddress}} {{end}}', other.id);
    const rules = cards.split(/\s+/).filter(Boolean);
    await this.#filter(rules.map((card) => ({ way: 'hears' as const, name, rule: `-m mac --mac-source ${card} -j DROP` })));
  }

  /** So many of a hundred packets are lost, each way, by chance. */
  async lose(percent: number, name = `loses ${percent}%`): Promise<void> {
    const rule = `-m statistic --mode random --probability ${percent / 100} -j DROP`;
    const ways = ['hears', 'sends'] as const;
    await this.#filter(ways.map((way) => ({ way, name, rule: `${notLocal[way]} ${rule}` })));
  }

  /** Every packet that it sends arrives `ms` later, of old connections too. By netem where the kernel has it. */
  async delayBy(ms: number, name = `slow by ${ms}ms`): Promise<DelayMeans> {
    if (await kernelHasNetem()) {
      await this.#inNetwork(`for device in ${devices}; do tc qdisc replace dev $device root netem delay ${ms}ms; done`);
      return 'netem';
    }
    await this.#removeHolders();
    await this.#startHolder(ms);
    // Without its program, before or after, the queue is passed by. At the end of the chain: what it has held meets no more rules.
    await this.#filter([{ way: 'sends', name, rule: `${notLocal.sends} -j NFQUEUE --queue-num ${queue} --queue-bypass` }], '-A');
    return 'a queue of the packet filter';
  }

  /** Ends what was done to its network: all of it, or what has this name. */
  async heal(name?: string): Promise<void> {
    if (name === undefined || name.startsWith('slow')) await this.#removeHolders();
    if (name === undefined) return this.#inNetwork(`${removeChains}\n${removeDelay}`);
    const named = `iptables --wait -S | sed -n '/--comment "${name}"/s/^-A/-D/p' | xargs --no-run-if-empty -L 1 iptables --wait`;
    await this.#inNetwork(name.startsWith('slow') ? `${named}\n${removeDelay}` : named);
  }

  /** Its folders on volumes; only there can its disk be full. */
  async dataFolders(): Promise<string[]> {
    const format = '{{range .Mounts}}{{if eq .Type "volume"}}{{println .Destination}}{{end}}{{end}}';
    return (await docker('inspect', '--format', format, this.id)).split('\n').filter(Boolean);
  }

  /**
   * No file on its volumes grows any more: its processes are told that the disk is full. The host's disk has no less room. The container is
   * restarted first, as a library comes between its processes and their disk, unless it is there from the last time.
   */
  async fillDisk(): Promise<void> {
    const folders = await this.dataFolders();
    if (await this.#preload('full-disk.so')) await this.restart();
    await this.#asRoot(`ln -sfn '${folders.join(':')}' /lab-break/full`);
  }

  /** There is room again, and whoever tries again succeeds. From outside: who ends at every start, as its disk is full, cannot be entered. */
  async emptyDisk(): Promise<void> {
    await pipeInto('cd "$(mktemp -d)" && mkdir lab-break && : > lab-break/full && tar -c lab-break/full', this.id);
    // Docker waits longer before each start of who ends at every start.
    if ((await this.state()) === 'restarting') await this.restart();
  }

  /** It is restarted, and its clock is so far from the right one, by libfaketime, which what is linked dynamically obeys. */
  async shiftClock(seconds: number): Promise<void> {
    await this.#preload('clock.so');
    await this.#asRoot(`echo '${seconds < 0 ? seconds : `+${seconds}`}' > /etc/faketimerc`);
    await this.restart();
  }

  /** It is restarted, with the right clock. One that ends at every start cannot be entered, but what it loads can be changed from outside. */
  async resetClock(): Promise<void> {
    await this.#asRoot('sed -i /clock.so/d /etc/ld.so.preload && rm -f /etc/faketimerc').catch(() =>
      pipeInto(`cd "$(mktemp -d)" && mkdir etc && : > etc/ld.so.preload && tar -c etc/ld.so.preload`, this.id),
    );
    await this.restart();
  }

  /** In Docker's word: `running`, `paused`, `exited`, `restarting`. */
  async state(): Promise<string> {
    return docker('inspect', '--format', '{{.State.Status}}', this.id);
  }

  /** Resolves when its health check passes, or at once when it runs and has none. */
  async healthy(): Promise<void> {
    const deadline = Date.now() + healthyMs;
    for (;;) {
      const status = await docker(
        'inspect',
        '--format',
        '{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}',
        this.id,
      );
      if (status === 'healthy' || status === 'running') return;
      if (Date.now() > deadline)
        throw new Error(`container ${this.id} is ${status} after ${healthyMs} ms; its log ends:\n${await this.#lastLines()}`);
      await wait(pollMs);
    }
  }

  async #lastLines(): Promise<string> {
    const { stdout, stderr } = await execute('docker', ['logs', '--tail', '20', this.id]);
    return stdout + stderr;
  }

  /** Rules under a name, by which `heal` and `faultsIn` find them. */
  async #filter(rules: readonly { way: Way; name: string; rule: string }[], place: '-I' | '-A' = '-I'): Promise<void> {
    const added = rules.map(
      ({ way, name, rule }) => `iptables --wait ${place} ${chains[way]} -m comment --comment '${name}' ${rule}`,
    );
    await this.#inNetwork([makeChains, ...added].join('\n'));
  }

  async #inNetwork(script: string): Promise<void> {
    await inFaultsImage(['--network', `container:${this.id}`, '--cap-add', 'NET_ADMIN'], script);
  }

  /** Resolves when the program holds packets. */
  async #startHolder(ms: number): Promise<void> {
    const place = ['--network', `container:${this.id}`, '--cap-add', 'NET_ADMIN', '--label', `${holderLabel}=${this.id}`];
    const program = ['hold-packets', String(queue), String(ms)];
    const holder = await docker('run', '--detach', '--rm', ...place, await serviceImage('faults'), ...program);
    const deadline = Date.now() + momentMs;
    while (!(await docker('logs', holder)).includes('holding')) {
      if (Date.now() > deadline) throw new Error(`no program holds the packets of ${this.id}: it said nothing in ${momentMs} ms`);
      await wait(pollMs);
    }
  }

  /** The programs that hold its packets, in its network or in the one that it had before it was restarted. */
  async #removeHolders(): Promise<void> {
    const holders = await docker('ps', '--quiet', '--filter', `label=${holderLabel}=${this.id}`);
    if (holders !== '') await docker('rm', '--force', ...holders.split('\n'));
  }

  async #asRoot(script: string): Promise<string> {
    return docker('exec', '--user', 'root', this.id, 'sh', '-ec', script);
  }

  /** From their next start on its processes load this library of the folder /lab-break. Whether that is new. */
  async #preload(library: string): Promise<boolean> {
    const line = `/lab-break/${library}`;
    if ((await this.#asRoot(`grep -sxF ${line} /etc/ld.so.preload || true`)) !== '') return false;
    await pipeInto(`docker run --rm ${await serviceImage('faults')} tar -C / -c lab-break`, this.id);
    await this.#asRoot(`echo ${line} >> /etc/ld.so.preload`);
    return true;
  }
}

/** Unpacks in a container's file system, whether it runs or not, the archive that a script writes. */
async function pipeInto(script: string, container: string): Promise<void> {
  await execute('bash', ['-ec', `set -o pipefail; (${script}) | docker cp - "$0:/"`, container]);
}

/** Looks into the namespaces of many at once: a container for each would take half a second for each. */
const lookInto = `for pid; do
  echo "process $pid"
  nsenter --net=/proc/$pid/ns/net sh -c 'iptables --wait -S; tc qdisc show' 2>/dev/null | grep -E 'LAB-BREAK.*comment|netem' || true
  [ ! -L /proc/$pid/root/lab-break/full ] || echo full
  [ ! -s /proc/$pid/root/etc/faketimerc ] || echo "clock $(cat /proc/$pid/root/etc/faketimerc)"
done`;

/** What is wrong with containers that run, by their first process: names of what `heal` ends, `disk full`, and `clock +3600 s`. */
export async function faultsIn(processes: readonly number[]): Promise<ReadonlyMap<number, readonly string[]>> {
  // All of them are made by its image. To look is no reason to build it for a minute.
  if (!(await hasImageOf('faults'))) return new Map();
  const rights = ['SYS_ADMIN', 'SYS_PTRACE', 'NET_ADMIN'].flatMap((right) => ['--cap-add', right]);
  const args = ['--pid', 'host', ...rights, '--security-opt', 'apparmor:unconfined'];
  const said = processes.length === 0 ? '' : await inFaultsImage(args, lookInto, ...processes.map(String));
  const found = new Map<number, Set<string>>();
  for (const section of said.split(/^process /m).slice(1)) {
    const [pid = '', ...lines] = section.trim().split('\n');
    found.set(Number(pid), new Set(lines.map(faultNamed)));
  }
  return new Map([...found].map(([pid, faults]) => [pid, [...faults]]));
}

function faultNamed(line: string): string {
  const comment = /--comment "([^"]+)"/.exec(line)?.[1];
  if (comment !== undefined) return comment;
  const delay = /netem.* delay (\S+)/.exec(line)?.[1];
  if (delay !== undefined) return `slow by ${delay}`;
  return line === 'full' ? 'disk full' : line.replace(/^clock (.*)$/, 'clock $1 s');
}
