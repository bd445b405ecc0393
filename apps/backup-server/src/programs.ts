/**
 * Every program of the system: the roles, the node, the admin, the demo, and what makes secrets and certificates. Each loads
 * what it needs when it is chosen.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { command, pathError, runProgram, type Command, type ProgramProcess } from '@lab/process';
import { adminCommands } from './admin/commands.ts';
import * as config from './config.ts';
import { nameFromBytes } from './domain/file-names.ts';

const hosts = (): Promise<typeof import('./hosts.ts')> => import('./hosts.ts');
const stdout = (text: string): void => void process.stdout.write(text);

async function makeSecret({ output }: { output: string }): Promise<void> {
  try {
    writeFileSync(output, `${randomBytes(32).toString('hex')}\n`, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    throw pathError(error, 'the secret cannot be written: ');
  }
  console.error(`made ${output}: every role and every admin needs this file, and nobody else may read it`);
}

async function makeCertificates({ output, nodes }: { output: string; nodes: string[] }): Promise<void> {
  const certificates = await import('./channel/certificates.ts');
  const made = await certificates.makeCertificates({ directory: output, names: nodes }).catch((error: unknown) => {
    throw error instanceof Error && 'syscall' in error ? pathError(error, 'the certificates cannot be made: ') : error;
  });
  console.error(made.length === 0 ? `${output} has them all already` : `made in ${output}: ${made.join(', ')}`);
}

const commands: Record<string, Command> = {
  demo: command({
    summary: 'the whole system in one process: backs up, changes, restores, compares',
    settings: config.demoConfig,
    run: async (settings) => (await import('./demo.ts')).demo(settings),
  }),
  standalone: command({
    summary: 'server, nodes manager and backup requester in one process, without RabbitMQ',
    settings: config.standaloneConfig,
    run: async (settings) => (await hosts()).runStandalone(settings),
  }),
  node: command({
    summary: 'serves backups of paths below its root',
    settings: config.nodeConfig,
    run: async (settings) => (await hosts()).runNode(settings),
  }),
  admin: adminCommands(stdout),
  'content-creator': command({
    summary: 'writes a line a second to a file',
    settings: config.contentCreatorConfig,
    run: async (settings) => (await hosts()).runContentCreator(settings),
  }),
  secret: command({ summary: 'makes a secret for roles and admins to share', settings: config.secretConfig, run: makeSecret }),
  certificates: command({
    summary: 'makes an authority and certificates, for TLS',
    settings: config.certificatesConfig,
    run: makeCertificates,
  }),
  ...Object.fromEntries(
    config.roleNames.map((name) => [
      name,
      command({
        summary: `the role ${name}, on RabbitMQ`,
        settings: config.roleConfig,
        run: async (settings) => (await hosts()).runOnRabbitmq(name, settings),
      }),
    ]),
  ),
};

/** Node takes arguments for UTF-8; a path that is not has to be read where the kernel keeps it. */
function exactArgs(args: readonly string[]): readonly string[] {
  if (!args.some((arg) => arg.includes('\ufffd'))) return args;
  try {
    const raw = readFileSync('/proc/self/cmdline');
    const all: string[] = [];
    for (let at = 0; at < raw.length;) {
      const end = raw.indexOf(0, at);
      all.push(nameFromBytes(raw.subarray(at, end)));
      at = end + 1;
    }
    return all.slice(-args.length);
  } catch {
    return args;
  }
}

export const main = ({ argv, env, stdout, stderr }: ProgramProcess): Promise<number> =>
  runProgram(commands, { argv: exactArgs(argv), env, stdout, stderr });
