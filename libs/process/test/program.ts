/** A program for tests to start, signal and look into from outside. */
import { Registry } from 'prom-client';
import { z } from 'zod';
import {
  command,
  ExitError,
  exitCodes,
  interruptible,
  makeLogger,
  retry,
  runProcess,
  runProgram,
  systemClock,
  type Role,
} from '../src/index.ts';

const settings = z.object({
  behaviour: z
    .enum(['orderly', 'stubborn', 'unavailable', 'fails', 'throws', 'rejects'])
    .default('orderly')
    .describe('what the worker does'),
  drainMs: z.coerce.number().int().min(1).default(8_000).describe('most time to stop'),
  healthPort: z.coerce.number().int().optional().describe('port of /healthz and /metrics'),
});
type Settings = z.infer<typeof settings>;

const store: Role = { start: async () => {}, stop: async () => {} };

function worker(behaviour: Settings['behaviour']): Role {
  const failure = Promise.withResolvers<never>();
  return {
    failed: failure.promise,
    async start() {
      if (behaviour === 'unavailable') throw new ExitError('the broker did not answer within 60 s', exitCodes.unavailable);
      if (behaviour === 'fails') setImmediate(() => failure.reject(new Error('the queue is gone')));
      if (behaviour === 'throws') setImmediate(() => void (undefined as unknown as string).length);
      if (behaviour === 'rejects') setImmediate(() => void Promise.reject(new Error('nobody waits for this')));
    },
    stop: () => (behaviour === 'stubborn' ? new Promise(() => {}) : Promise.resolve()),
  };
}

async function serve({ behaviour, drainMs, healthPort }: Settings): Promise<number> {
  const log = makeLogger({ name: 'program' });
  const health = healthPort === undefined ? {} : { health: { port: healthPort, host: '127.0.0.1', registry: new Registry() } };
  const roles = [
    { name: 'store', role: store },
    { name: 'worker', role: () => worker(behaviour) },
  ];
  const code = await runProcess(roles, { log, drainMs, ...health });
  console.log('left in good order');
  return code;
}

/** Until it is interrupted; then it cleans up until its standard input ends. */
const work = (): Promise<void> =>
  interruptible(async (interrupted) => {
    try {
      console.log('working');
      const tryOnce = (): Promise<void> => Promise.reject(new Error('never done'));
      await retry(tryOnce, { clock: systemClock, withinMs: Infinity, signal: interrupted });
    } finally {
      console.log('cleaning up');
      await process.stdin.toArray();
      console.log('cleaned up');
    }
  });

process.exitCode = await runProgram(
  {
    serve: command({ summary: 'hosts a store and a worker', settings, run: serve }),
    work: command({ summary: 'works until it is interrupted', settings: z.object({}), run: work }),
  },
  process,
);
