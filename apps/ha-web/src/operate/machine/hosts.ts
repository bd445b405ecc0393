/** A machine: the supervisor of its programs. */
import { runRole } from '@lab/process';
import type { z } from 'zod';
import type * as config from '../../config.ts';
import { backupMachine, balancerMachine, databaseMachine, webMachine } from './machines.ts';
import { stopMsMax, Supervisor, type Machine } from './supervisor.ts';

type Plain = z.infer<typeof config.plainMachine>;

export const hosts = {
  lb: (settings: z.infer<typeof config.balancerMachine>) => runMachine(balancerMachine(settings), settings),
  web: (settings: Plain) => runMachine(webMachine, settings),
  db: (settings: z.infer<typeof config.databaseMachine>) => runMachine(databaseMachine(settings), settings),
  backup: (settings: Plain) => runMachine(backupMachine, settings),
};

function runMachine(machine: Machine, { logLevel }: Plain): Promise<number> {
  // Killing what does not end in time takes no time.
  const drainMs = stopMsMax(machine) + 500;
  return runRole(
    { name: 'machine', logLevel, drainMs },
    ({ clock, log }) => new Supervisor({ machine, clock, log, print: printLine }),
  );
}

/** Our own programs' lines are JSON and name themselves. */
const printLine = (service: string, line: string): void =>
  void process.stdout.write(line.startsWith('{') ? `${line}\n` : `${service}: ${line}\n`);
