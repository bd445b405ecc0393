/** A recorded simulation again, with other faults: the simulator of its app runs in a process of its own. */
import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ExitError, exitCodes } from '@lab/process';
import { kindOf, type Fault } from '@lab/simulation/faults';
import type { Asked, Recorded } from '@lab/simulation';
import { z } from 'zod';
import { recordingOf, type Recording } from './recording.ts';

/** A run takes a second; one whose faults make it wait for ever is ended by its own promise of liveness. */
const patienceMs = 60_000;

/** What is asked for: these faults strike, and no others. */
export const askedFaults = z.object({
  faults: z.array(z.object({ key: z.string().max(1_000), arg: z.int().min(0).max(1e9) })).max(10_000),
});

/** The simulator of the app in this folder, where the recording is one of its runs, and has all that it takes. */
export function simulatorOf({ system, scenario }: Recording, directory: string): string | undefined {
  const file = join(directory, 'test/simulate.ts');
  return scenario !== undefined && directory.endsWith(`/${system}`) && existsSync(file) ? file : undefined;
}

/** Runs it again with these faults and no others. A fault that is none is a `RangeError`. */
export async function runAgain(simulator: string, { scenario }: Recording, faults: readonly Fault[]): Promise<Recording> {
  for (const fault of faults) kindOf(fault);
  const recorded = await new Promise<Recorded>((resolve, reject) => {
    const worker = fork(simulator, ['worker'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], timeout: patienceMs });
    worker.once('message', (said: Recorded) => {
      resolve(said);
      worker.kill('SIGKILL');
    });
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error(`the simulator has ended, or has run for more than ${patienceMs / 1_000} s`)));
    worker.send({ scenario: { ...scenario!, faults } } satisfies Asked);
  });
  if ('error' in recorded) throw new ExitError(recorded.error, exitCodes.failed);
  return recordingOf(recorded.events);
}
