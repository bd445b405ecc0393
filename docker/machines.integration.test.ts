import { globSync, readFileSync } from 'node:fs';
import { eventually } from '@lab/testing';
import { startProcess } from '@lab/testing/processes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from './engine.ts';
import { serviceImage } from './images.ts';
import { startMachines, whyNoMachines } from './machines.ts';

const why = await whyNoMachines();
const folders = '/var/lib/lab-machines';
const port = 7000;
/** A program in Perl, which every Debian has, that greets whoever comes. */
const greeter = `$door = IO::Socket::INET->new(Listen => 9, LocalPort => ${port}) or die;
while ($guest = $door->accept) { print $guest "hello\\n"; close $guest }`;

describe.skipIf(why)(`two machines${why === undefined ? '' : `: ${why}`}`, () => {
  let machines: Awaited<ReturnType<typeof startMachines>>;
  beforeAll(async () => {
    const image = await serviceImage('faults');
    machines = await startMachines(2, [image]);
    const [first, second] = machines;
    await first!.docker(
      'run',
      '--detach',
      '--name=greeter',
      `--publish=${port}:${port}`,
      image,
      'perl',
      '-MIO::Socket::INET',
      '-e',
      greeter,
    );
    await second!.docker('run', '--detach', '--name=guest', '--init', image, 'sleep', 'infinity');
  });
  afterAll(() => machines?.[Symbol.asyncDispose]());

  /** What a container of the second machine, and this process, are told by the first machine. */
  const greetings = (): Promise<string[]> => {
    const visit = ['timeout', '5', 'bash', '-c', `read -r line < /dev/tcp/${machines[0]!.address}/${port}; echo $line`];
    const ways = [machines[1]!.docker('exec', 'guest', ...visit), run(visit[0]!, visit.slice(1))];
    return Promise.all(ways.map((way) => way.then((line) => line.trim()).catch(() => 'silence')));
  };

  it('reach each other, and are reached from their host', async () => {
    await eventually(async () => expect(await greetings()).toEqual(['hello', 'hello']));
    expect(await machines[1]!.docker('info', '--format', '{{.Name}}')).toBe('machine-2');
  });

  it('do not while the cable is pulled, though their engines go on', async () => {
    await machines[0]!.pull();
    expect(await greetings()).toEqual(['silence', 'silence']);
    expect(await machines[0]!.docker('ps', '--format', '{{.Names}}')).toBe('greeter');
    await machines[0]!.plug();
    await eventually(async () => expect(await greetings()).toEqual(['hello', 'hello']));
  });

  it('die with all their containers, and have their files when they are started again', async () => {
    const living = (): string[] => programs().filter((program) => program.includes(`LocalPort => ${port}`));
    expect(living()).toHaveLength(1);
    await machines[0]!.kill();
    expect(living()).toEqual([]);
    await machines[0]!.start();
    expect(await machines[0]!.docker('ps', '--all', '--format', '{{.Names}} {{.State}}')).toBe('greeter exited');
    await machines[0]!.docker('start', 'greeter');
    await eventually(async () => expect(await greetings()).toEqual(['hello', 'hello']));
  });
});

describe.skipIf(why)(`of machines${why === undefined ? '' : `: ${why}`}`, () => {
  const left = (owner: number): string[] => [
    ...programs().filter((program) => program.includes(`${folders}/${owner}-`)),
    ...globSync([`${folders}/${owner}-*`, `/sys/fs/cgroup/**/lab-machines-${owner}-*`]),
  ];
  const links = (): string[] => globSync('/sys/class/net/lab-switch*');

  it('nothing is left when they are disposed of', async () => {
    const before = links();
    {
      await using machines = await startMachines(1, [await serviceImage('faults')]);
      await machines[0]!.docker('run', '--detach', await serviceImage('faults'), 'sleep', 'infinity');
      expect(left(process.pid)).not.toEqual([]);
    }
    expect(left(process.pid)).toEqual([]);
    expect(links()).toEqual(before);
  });

  it('none lives when their process was killed, and the next start removes their files', async () => {
    const script = `import { startMachines } from '${import.meta.dirname}/machines.ts';
      const machines = await startMachines(1, ['${await serviceImage('faults')}']);
      await machines[0].docker('run', '--detach', '${await serviceImage('faults')}', 'sleep', 'infinity');
      console.log('they run');`;
    const owner = startProcess(['--input-type=module-typescript', '--eval', script]);
    await owner.line(/they run/);
    await owner.kill();
    await eventually(() => !programs().some((program) => program.includes(`${folders}/${owner.pid}-`)));
    expect(left(owner.pid)).not.toEqual([]);
    await (await startMachines(0, []))[Symbol.asyncDispose]();
    expect(left(owner.pid)).toEqual([]);
  });
});

/** What runs on this host, machines and containers included, by command lines. */
function programs(): string[] {
  return globSync('/proc/[0-9]*/cmdline').flatMap((file) => {
    try {
      return [readFileSync(file, 'utf8').replaceAll('\0', ' ')];
    } catch {
      return []; // It has ended.
    }
  });
}
