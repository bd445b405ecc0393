/** One role of the system on RabbitMQ (a container runs this), the client, the demo, and the maker of data. */
import { connectRabbitmq } from '@lab/middleware';
import { traced } from '@lab/middleware/traced';
import { command, runProgram, runRole, splitAddress, type Command } from '@lab/process';
import { connectFramed, listenFramed } from '@lab/protocol';
import { Counter } from 'prom-client';
import { generateDataset } from '../data/generate.ts';
import { runClient, writeResults } from './client/program.ts';
import { reportText } from './client/report.ts';
import * as config from './config.ts';
import { demo } from './demo.ts';
import { settingsOf } from './domain/queries.ts';
import { describeMessage } from './messages.ts';
import { roles, wire } from './wiring.ts';

function runOne(name: string, settings: config.RoleConfig): Promise<number> {
  const limits = config.entryPointLimits(settings.sessionTimeout);
  const door = { ...splitAddress(settings.listen), limits, connectionsMax: settings.sessionsMax * 2 };
  return runRole({ name, ...settings }, async (host) => {
    const { log, clock, registry, tracer } = host;
    const connection = await host.open(connectRabbitmq({ url: settings.rabbitmqUrl, log }));
    const broker = traced(connection, tracer, describeMessage);
    broker.lost.catch(host.fail);
    const rows = new Counter({ name: 'bike_rows_total', help: 'Rows that this role has worked on', registers: [registry] });
    const parts = { broker, clock, log, countRows: (count: number) => rows.inc(count), newInstance: () => host.newId() };
    return wire(name, { ...parts, listen: (serve) => listenFramed(door, serve) }, settings);
  });
}

async function runFileReader(settings: config.FileReaderConfig): Promise<void> {
  const connect = () => connectFramed({ ...splitAddress(settings.entryPoint), limits: config.clientLimits });
  const asked = settingsOf(settings);
  const { results, elapsedMs } = await runClient({ ...settings, settings: asked, connect });
  console.log(reportText(results, asked));
  if (settings.output !== undefined) await writeResults(settings.output, results);
  console.error(`answered in ${(elapsedMs / 1000).toFixed(2)} s`);
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
        run: (settings) => runOne(name, settings),
      }),
    ]),
  ),
};

process.exitCode = await runProgram(commands, process);
