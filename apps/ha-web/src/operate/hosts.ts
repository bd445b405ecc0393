/** A machine: the supervisor of its programs. */
import { makeLogger, runProcess, systemClock } from '@lab/process';
import type { BalancerMachineConfig, DatabaseMachineConfig, PlainMachineConfig } from '../config.ts';
import { backupMachine, balancerMachine, databaseMachine, webMachine } from './machine/machines.ts';
import { Supervisor, type Machine } from './machine/supervisor.ts';

export const runBalancerMachine = (settings: BalancerMachineConfig): Promise<number> =>
  runMachine(balancerMachine(settings), settings);
export const runWebMachine = (settings: PlainMachineConfig): Promise<number> => runMachine(webMachine(), settings);
export const runDatabaseMachine = (settings: DatabaseMachineConfig): Promise<number> =>
  runMachine(databaseMachine(settings), settings);
export const runBackupMachine = (settings: PlainMachineConfig): Promise<number> => runMachine(backupMachine(), settings);

async function runMachine(machine: Machine, { logLevel }: { logLevel: PlainMachineConfig['logLevel'] }): Promise<number> {
  const log = makeLogger({ name: 'machine', level: logLevel, pretty: false });
  const supervisor = new Supervisor({ machine, clock: systemClock, log, print: printLine });
  // Killing what does not end in time takes no time.
  const drainMs = supervisor.stopMsMax + 500;
  return runProcess([{ name: 'supervisor', role: supervisor }], { log, drainMs });
}

/** Our own programs' lines are JSON and name themselves. */
const printLine = (service: string, line: string): void =>
  void process.stdout.write(line.startsWith('{') ? `${line}\n` : `${service}: ${line}\n`);
