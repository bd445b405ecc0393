/** The containers of a project as people name them: roles, with a number where there are several, and engines. */
import { Container, docker } from './container.ts';
import { targetNames } from './verbs.ts';

/** What there is to break. */
export class Target extends Container {
  readonly name: string;
  /** What is wrong with it by Docker's own word: `paused`, `unhealthy`; or nothing. */
  readonly trouble: string | undefined;
  /** 0 where it does not run. */
  readonly pid: number;
  readonly service: string;
  /** Of its last start, in ms since 1970. */
  readonly startedMs: number;
  /** In its networks; others may be told these for its name. */
  readonly addresses: readonly string[];
  /** Where it answers `/healthz` and `/metrics`, inside. */
  readonly healthPort: number | undefined;
  /** By its label `lab.flows-to`: whose service gets something from it that no span tells of. */
  readonly flowsTo: string | undefined;
  /** By its label `lab.serves`: what its callers know it as. */
  readonly serves: string | undefined;

  constructor(name: string, { Name, Config, State, NetworkSettings }: Inspected) {
    super(Name.slice(1));
    this.name = name;
    this.pid = State.Pid;
    this.service = Config.Labels[serviceLabel]!;
    this.addresses = Object.values(NetworkSettings.Networks).flatMap(({ IPAddress }) => IPAddress || []);
    this.startedMs = Date.parse(State.StartedAt);
    this.flowsTo = Config.Labels['lab.flows-to'];
    this.serves = Config.Labels['lab.serves'];
    const port = Config.Env.find((each) => each.startsWith('HEALTH_PORT='))?.split('=')[1];
    this.healthPort = port === undefined ? undefined : Number(port);
    if (['exited', 'dead', 'created'].includes(State.Status)) this.trouble = `stopped, exit code ${State.ExitCode}`;
    else if (State.Status !== 'running') this.trouble = State.Status;
    else if (State.Health?.Status === 'unhealthy') this.trouble = 'unhealthy';
  }
}

const serviceLabel = 'com.docker.compose.service';

/** A part of what `docker inspect` says. */
interface Inspected {
  readonly Name: string;
  readonly Config: { readonly Labels: Readonly<Record<string, string | undefined>>; readonly Env: readonly string[] };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>> };
  readonly HostConfig: { readonly RestartPolicy: { readonly Name: string } };
  readonly State: {
    readonly Status: string;
    readonly Pid: number;
    readonly StartedAt: string;
    readonly ExitCode: number;
    readonly Health?: { readonly Status: string };
  };
}

/** All targets of a project in the order of their names. What has ended as it should, and is not started again, is none. */
export async function targetsOf(project: string): Promise<Target[]> {
  const ids = await docker('ps', '--all', '--quiet', '--filter', `label=com.docker.compose.project=${project}`);
  if (ids === '') return [];
  const all = JSON.parse(await docker('inspect', ...ids.split('\n'))) as Inspected[];
  const isDone = ({ State, HostConfig }: Inspected): boolean =>
    State.Status === 'exited' && State.ExitCode === 0 && ['', 'no'].includes(HostConfig.RestartPolicy.Name);
  const there = all.filter((each) => !isDone(each));
  const named = there.map(({ Name, Config }) => ({
    service: Config.Labels[serviceLabel]!,
    container: Name.slice(1),
  }));
  const names = targetNames(project, named);
  return there
    .map((each, index) => new Target(names[index]!, each))
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
}
