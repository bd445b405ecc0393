/** One role of the system on RabbitMQ (a container runs this), the client, the demo, and the maker of data. */
import { randomUUID } from 'node:crypto';
import { connectRabbitmq, type Broker } from '@lab/middleware';
import {
  command,
  ExitError,
  exitCodes,
  makeLogger,
  runMain,
  runProcess,
  systemClock,
  type Command,
  type Logger,
  type Role,
} from '@lab/process';
import { connectFramed, ConnectError, listenFramed, type FramedSocket } from '@lab/protocol';
import { Counter, Registry } from 'prom-client';
import { runClient } from './client.ts';
import * as config from './config.ts';
import { demo } from './demo.ts';
import { generateDataset } from './generate.ts';
import { reportText } from './report.ts';
import { roles, wire, type Host } from './wiring.ts';

async function runRole(name: string, settings: config.RoleConfig): Promise<number> {
  const log = makeLogger({ name, level: settings.logLevel });
  const registry = new Registry();
  const rows = new Counter({ name: 'bike_rows_total', help: 'Rows that this role has worked on', registers: [registry] });
  const limits = config.entryPointLimits(settings.sessionTimeout);
  const host: Omit<Host, 'broker'> = {
    log,
    clock: systemClock,
    countRows: (count) => rows.inc(count),
    newInstance: randomUUID,
    listen: (serve) =>
      listenFramed({ ...splitAddress(settings.listen), limits, connectionsMax: settings.sessionsMax * 2 }, serve),
  };
  let broker: Broker | undefined;
  const connection: Role = {
    start: async () => void (broker = await connectRabbitmq({ url: settings.rabbitmqUrl, log })),
    stop: async () => broker?.close(),
  };
  const processRoles = [
    { name: 'connection', role: connection },
    { name, role: () => wire(name, { ...host, broker: broker! }, settings) },
  ];
  return runProcess(processRoles, {
    log,
    ...(settings.healthPort !== undefined && { health: { port: settings.healthPort, registry } }),
  });
}

async function runFileReader(settings: config.FileReaderConfig): Promise<void> {
  const log = makeLogger({ name: 'file-reader' });
  const connect = () => connectPatiently(settings.entryPoint, settings.connectTimeout, log);
  const { results, elapsedMs } = await runClient({ ...settings, log, connect });
  console.log(reportText(results));
  console.error(`answered in ${(elapsedMs / 1000).toFixed(2)} s`);
}

/** Tries until the entry point is there: it may be starting, or being restarted. */
async function connectPatiently(address: string, timeoutMs: number, log: Logger): Promise<FramedSocket> {
  const deadlineMs = performance.now() + timeoutMs;
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1000)) {
    try {
      return await connectFramed({ ...splitAddress(address), limits: config.clientLimits });
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      if (performance.now() > deadlineMs) {
        throw new ExitError(`${error.message}; tried for ${timeoutMs / 1000} s. Is the system up?`, exitCodes.unavailable, {
          cause: error,
        });
      }
      log.info({ reason: error.message }, 'waiting for the entry point');
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + Math.random() / 2)));
  }
}

function splitAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) };
}

async function generate({ output, trips, seed }: config.GenerateConfig): Promise<void> {
  await generateDataset({ directory: output, trips, seed });
  console.error(`made ${trips.toLocaleString('en')} trips in ${output}`);
}

const commands: Record<string, Command> = {
  demo: command({
    summary: 'all roles in one process, without RabbitMQ: reads, answers, checks itself',
    settings: config.demoConfig,
    run: demo,
  }),
  'file-reader': command({
    summary: 'the client: sends a data set to a running system and shows the answers',
    settings: config.fileReaderConfig,
    run: runFileReader,
  }),
  generate: command({
    summary: 'makes seeded data of any size in the columns of the real data set',
    settings: config.generateConfig,
    run: generate,
  }),
  ...Object.fromEntries(
    [...roles.keys()].map((name) => [
      name,
      command({
        summary: `the role ${name}, on RabbitMQ`,
        settings: config.roleConfig,
        run: (settings) => runRole(name, settings),
      }),
    ]),
  ),
};

process.exitCode = await runMain('main.ts', commands, {
  args: process.argv.slice(2),
  env: process.env,
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
});
