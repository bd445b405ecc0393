/**
 * Several machines on one host: each has a Docker engine, a network card and a cable of its own, and all cables lead to one switch.
 *
 * A machine is a process in namespaces of its own (processes, mounts, network, name), which starts an engine and then waits for the end of its
 * standard input. When it ends the kernel ends all that runs in it, at once, containers included: that is `kill`, and what happens when the
 * process that started the machines dies. Of those that died so, folders stay: the next start removes them.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { lastLines, run } from './engine.ts';

/** A folder in it belongs to the process whose id its name begins with. Not in /tmp, which may be memory. */
const root = '/var/lib/lab-machines';
/** An engine takes a second, on a busy machine several. */
const startTimeoutMs = 60_000;
const pollMs = 100;

/** What a switch and a machine are made of; the rest that an engine needs tells the engine itself. */
const probe = `
command -v dockerd || { echo 'there is no dockerd' >&2; exit 1; }
mount -t tmpfs probe /run
ip link add type bridge
ip link add type veth
ip link add type vxlan id 1 dstport 4789`;

/** Why this host cannot have machines, as a sentence; `undefined` where it can. */
export async function whyNoMachines(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'only root on Linux can make machines of network namespaces';
  return run('unshare', ['--pid', '--fork', '--mount-proc', '--net', 'sh', '-ec', probe]).then(
    () => undefined,
    ({ message }: Error) => `this host cannot make machines: ${message.split(`${probe} failed: `).at(-1)}`,
  );
}

/**
 * Starts machines that reach each other, and that this process reaches by their addresses; they reach nothing else. Their engines have these
 * images of the host's engine. Dispose of them (`await using`) and nothing is left.
 */
export async function startMachines(count: number, images: readonly string[]): Promise<readonly Machine[] & AsyncDisposable> {
  await removeLeftovers();
  await mkdir(root, { recursive: true });
  const folder = await mkdtemp(join(root, `${process.pid}-`));
  const network = await Network.start();
  const machines = Array.from({ length: count }, (_, index) => new Machine(index + 1, folder, network));
  const dispose = async (): Promise<void> => {
    await Promise.all(machines.map((machine) => machine.kill()));
    await network.stop();
    await removeFolder(folder);
  };
  try {
    await Promise.all(machines.map((machine) => machine.start()));
    if (images.length > 0) await copyImages(images, machines);
  } catch (error) {
    await dispose();
    throw error;
  }
  return Object.assign(machines, { [Symbol.asyncDispose]: dispose });
}

/**
 * First it lets go of what the host's engine has mounted: held from here, a container of the host would not be gone when it is removed. One may be
 * removed at this moment.
 */
const machineScript = `
cut -d ' ' -f 2 /proc/self/mounts | grep -E '^/(run|var/lib)/docker/' | xargs --no-run-if-empty umount --lazy || true
mount -t tmpfs machine /run
echo '{}' > /run/daemon.json
echo "$1" > /proc/sys/kernel/hostname
ip link set lo up
shift
"$@" &
echo up
read -r end`;

/** A machine that tests do harm to. */
export class Machine {
  /** Of its network card, at which the ports are that its containers publish. */
  readonly address: string;
  /** Where its engine listens, for `DOCKER_HOST`: a console, which works with the cable pulled. */
  readonly host: string;
  readonly #number: number;
  readonly #folder: string;
  readonly #network: Network;
  #process: ChildProcess | undefined;

  constructor(number: number, folder: string, network: Network) {
    this.#number = number;
    this.#folder = join(folder, String(number));
    this.#network = network;
    this.address = network.address(number);
    this.host = `unix://${this.#folder}/docker.sock`;
  }

  /** Runs docker on its engine; what it prints. An error carries what it said. */
  async docker(...args: readonly string[]): Promise<string> {
    return (await run('docker', ['--host', this.host, ...args])).trim();
  }

  /** Switches it on, with its cable plugged in; resolves when its engine answers. After `kill` it has its files, and no container runs. */
  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const logFile = join(this.#folder, 'log');
    const dockerd = [
      ...['dockerd', '--config-file=/run/daemon.json', `--host=${this.host}`, `--data-root=${this.#folder}/data`],
      `--dns=${this.#network.host}`,
      // What systemd says of a machine's processes is not about this machine.
      ...['--exec-opt=native.cgroupdriver=cgroupfs', `--cgroup-parent=${cgroupOf(this.#folder)}`],
    ];
    const namespaces = ['--pid', '--fork', '--kill-child', '--mount-proc', '--net', '--uts', '--ipc'];
    const script = ['sh', '-ec', machineScript, 'machine', `machine-${this.#number}`, ...dockerd];
    this.#process = await startNamespaces([...namespaces, ...script], logFile);
    await this.#network.connect(this.#number, this.#process.pid!);
    await this.#answers(logFile);
  }

  async #answers(logFile: string): Promise<void> {
    const deadlineMs = performance.now() + startTimeoutMs;
    while (!(await this.docker('version').catch(() => undefined))) {
      if (performance.now() > deadlineMs) throw new Error(`no engine answers; the end of ${logFile}:\n${lastLines(logFile)}`);
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }

  /** Its power fails: the engine and all containers are dead when this resolves, and nobody was told. */
  async kill(): Promise<void> {
    // Or the kernel would close the connections of those that it ends. A machine that is dead has no cable.
    await this.pull().catch(() => undefined);
    await end(this.#process);
    this.#process = undefined;
  }

  /** Pulls its cable: all packets are lost, both ways, and connections stay open. */
  async pull(): Promise<void> {
    await this.#network.inside('ip', 'link', 'set', portOf(this.#number), 'down');
  }

  /** Plugs its cable in again. */
  async plug(): Promise<void> {
    await this.#network.inside('ip', 'link', 'set', portOf(this.#number), 'up');
  }
}

/** The switch's end of a machine's cable; 0 is the host's. */
const portOf = (number: number): string => `port${number}`;

/** A switch, and a cable to this host, whose name reserves the addresses: 198.18.0.0/15 is for tests of networks, and so nobody's. */
class Network {
  readonly #switch: ChildProcess;
  readonly #subnet: number;
  #nameServer: Socket | undefined;

  private constructor(ofSwitch: ChildProcess, subnet: number) {
    this.#switch = ofSwitch;
    this.#subnet = subnet;
  }

  static async start(): Promise<Network> {
    const script = 'ip link add switch type bridge; ip link set switch up; echo up; read -r end';
    const ofSwitch = await startNamespaces(['--net', 'sh', '-ec', script]);
    try {
      for (let subnet = 0; ; subnet++) {
        const network = new Network(ofSwitch, subnet);
        if (await network.#connectHost()) return network;
      }
    } catch (error) {
      await end(ofSwitch);
      throw error;
    }
  }

  /** Whether these addresses were free. */
  async #connectHost(): Promise<boolean> {
    const link = this.#hostLink;
    try {
      await run('ip', this.#cable(0, ['name', link]));
    } catch (error) {
      if (this.#subnet < 255 && existsSync(`/sys/class/net/${link}`)) return false;
      throw error;
    }
    await this.#plugIn(0);
    await run('ip', ['address', 'add', `${this.host}/24`, 'dev', link]);
    await run('ip', ['link', 'set', link, 'up']);
    this.#nameServer = await startNameServer(this.host);
    return true;
  }

  get #hostLink(): string {
    return `lab-switch${this.#subnet}`;
  }

  /** This process's own address, at which the machines' name server is. */
  get host(): string {
    return this.address(254);
  }

  address(number: number): string {
    return `198.18.${this.#subnet}.${number}`;
  }

  /** A new cable from the switch to a machine: the kernel may not have removed yet what the machine had before it was killed. */
  async connect(number: number, pid: number): Promise<void> {
    await this.inside('ip', 'link', 'delete', portOf(number)).catch(() => undefined);
    // A card keeps its address, or others would go on sending to the one that was.
    const card = ['name', 'eth0', 'address', `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`];
    await run('ip', this.#cable(number, [...card, 'netns', String(pid)]));
    await this.#plugIn(number);
    await inNetworkOf(pid, 'ip', 'address', 'add', `${this.address(number)}/24`, 'dev', 'eth0');
    await inNetworkOf(pid, 'ip', 'link', 'set', 'eth0', 'up');
  }

  #cable(number: number, peer: readonly string[]): string[] {
    const port = ['name', portOf(number), 'netns', String(this.#switch.pid)];
    return ['link', 'add', ...port, 'type', 'veth', 'peer', ...peer];
  }

  async #plugIn(number: number): Promise<void> {
    await this.inside('ip', 'link', 'set', portOf(number), 'master', 'switch', 'up');
  }

  /** Runs a program where the switch is. */
  async inside(...command: readonly string[]): Promise<void> {
    await inNetworkOf(this.#switch.pid!, ...command);
  }

  /** The kernel removes a cable some time after its machine; the name is free when this resolves. */
  async stop(): Promise<void> {
    await run('ip', ['link', 'delete', this.#hostLink]).catch(() => undefined);
    await end(this.#switch);
    this.#nameServer?.close();
  }
}

/** Says at once of each name that there is none. Where nobody does, who asks for a service whose machine is dead waits for 10 s. */
async function startNameServer(host: string): Promise<Socket> {
  const server = createSocket('udp4');
  server.on('message', (query, { port, address }) => {
    // The query's id, "an answer to one question: no such name" (RFC 1035, 4.1.1), and the question.
    const head = Buffer.from('81830001000000000000', 'hex');
    server.send(Buffer.concat([query.subarray(0, 2), head, query.subarray(12, query.indexOf(0, 12) + 5)]), port, address);
  });
  server.bind(53, host);
  await once(server, 'listening');
  return server;
}

async function inNetworkOf(pid: number, ...command: readonly string[]): Promise<void> {
  await run('nsenter', [`--net=/proc/${pid}/ns/net`, ...command]);
}

/** Starts a script in new namespaces, which it has when it says so; it ends when its standard input does. */
async function startNamespaces(args: readonly string[], logFile = '/dev/null'): Promise<ChildProcess> {
  const log = openSync(logFile, 'a');
  const child = spawn('unshare', args, { stdio: ['pipe', 'pipe', log] });
  closeSync(log);
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`unshare ended with ${code}; the end of ${logFile}:\n${lastLines(logFile)}`);
  });
  await Promise.race([once(child.stdout!, 'data'), ended]);
  ended.catch(() => undefined);
  return child;
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.stdin!.destroy();
  await ended;
}

/** Reads the images once, for all. */
async function copyImages(images: readonly string[], machines: readonly Machine[]): Promise<void> {
  const save = spawn('docker', ['save', ...images], { stdio: ['ignore', 'pipe', 'inherit'] });
  const loads = machines.map(({ host }) =>
    spawn('docker', ['--host', host, 'load', '--quiet'], { stdio: ['pipe', 'ignore', 'inherit'] }),
  );
  const ends = [save, ...loads].map((child) => once(child, 'exit'));
  // One that fails says so by its exit code.
  for (const { stdin } of loads) save.stdout.pipe(stdin.on('error', () => undefined));
  if ((await Promise.all(ends)).some(([code]) => code !== 0)) throw new Error(`${images.join(', ')} could not be copied`);
}

/** The kernel keeps groups of processes that are gone. Another process may remove the same ones at this moment. */
async function removeFolder(folder: string): Promise<void> {
  const groups = ['-path', `*/${cgroupOf(folder)}*`];
  await run('find', ['/sys/fs/cgroup', '-depth', '-type', 'd', ...groups, '-delete']).catch(() => undefined);
  await rm(folder, { recursive: true, force: true });
}

/** `lab-machines-…`, from the path of a folder of machines, or of one of them. */
const cgroupOf = (folder: string): string => folder.split('/').slice(3).join('-');

/** Removes the folders of processes that have ended without doing so. */
async function removeLeftovers(): Promise<void> {
  if (!existsSync(root)) return;
  const folders = (await readdir(root)).filter((name) => !existsSync(`/proc/${name.split('-')[0]}`));
  for (const name of folders) await removeFolder(join(root, name));
}
