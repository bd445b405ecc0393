import { EventEmitter, once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { eventually, freePort } from '@lab/testing';
import { startProcess, type RunningProcess } from '@lab/testing/processes';
import { Counter, Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import { silentLogger, type Logger } from './logger.ts';
import type { Role } from './role.ts';
import { ExitError, exitCodes } from './exit-codes.ts';
import { runProcess, type HostedRole } from './run-process.ts';

/** An operating system that a test plays. */
class FakeOs extends EventEmitter {
  readonly exits: number[] = [];
  exit(code: number): void {
    this.exits.push(code);
  }
}

const never = new Promise<never>(() => {});

/** Roles that write down what happens to them. */
function tracedRoles(trace: string[], parts: Record<string, Partial<Role>>): HostedRole[] {
  return Object.entries(parts).map(([name, part]) => {
    const role: Role = {
      ...part,
      async start() {
        trace.push(`start ${name}`);
        await part.start?.();
      },
      async stop() {
        trace.push(`stop ${name}`);
        await part.stop?.();
      },
    };
    return { name, role };
  });
}

function host(parts: Record<string, Partial<Role>>, drainMs = 5_000): { os: FakeOs; trace: string[]; code: Promise<number> } {
  const os = new FakeOs();
  const trace: string[] = [];
  return { os, trace, code: runProcess(tracedRoles(trace, parts), { log: silentLogger, os, drainMs }) };
}

describe('runProcess', () => {
  it.each(['SIGTERM', 'SIGINT'])('starts roles in order and on %s stops them in reverse', async (signal) => {
    const { os, trace, code } = host({ store: {}, worker: {}, door: {} });
    await eventually(() => trace.length === 3);
    os.emit(signal, signal);
    expect(await code).toBe(exitCodes.ok);
    expect(trace).toEqual(['start store', 'start worker', 'start door', 'stop door', 'stop worker', 'stop store']);
    expect(os.exits).toEqual([]);
  });

  it('stops what had started, and the role that failed, when a start fails, with the code of the error', async () => {
    const start = async (): Promise<void> => {
      throw new ExitError('no broker', exitCodes.unavailable);
    };
    const { trace, code } = host({ store: {}, worker: { start }, door: {} });
    expect(await code).toBe(exitCodes.unavailable);
    expect(trace).toEqual(['start store', 'start worker', 'stop worker', 'stop store']);
  });

  it.each([
    [exitCodes.usage, { role: 'worker', reason: 'not so' }],
    [exitCodes.failed, { role: 'worker', err: expect.any(ExitError) as unknown }],
  ])('logs a failure with code %i, of wrong usage without a stack', async (exitCode, told) => {
    const logged: unknown[] = [];
    const log = Object.assign(Object.create(silentLogger) as Logger, { error: (fields: unknown) => void logged.push(fields) });
    const start = (): Promise<void> => Promise.reject(new ExitError('not so', exitCode));
    expect(await runProcess(tracedRoles([], { worker: { start } }), { log, os: new FakeOs() })).toBe(exitCode);
    expect(logged).toEqual([told]);
  });

  it('stops all when a role fails while it runs, and the first failure decides the code', async () => {
    const failure = Promise.withResolvers<never>();
    const later = Promise.withResolvers<never>();
    const stop = async (): Promise<void> => later.reject(new ExitError('of this also', 99));
    const { trace, code } = host({ store: { failed: later.promise }, worker: { failed: failure.promise, stop } });
    await eventually(() => trace.length === 2);
    failure.reject(new Error('the queue is gone'));
    expect(await code).toBe(exitCodes.failed);
    expect(trace.slice(2)).toEqual(['stop worker', 'stop store']);
  });

  it('stops the others when one cannot stop, and does not call that a success', async () => {
    const stop = async (): Promise<void> => {
      throw new Error('the socket is stuck');
    };
    const { os, trace, code } = host({ store: {}, worker: { stop } });
    await eventually(() => trace.length === 2);
    os.emit('SIGTERM', 'SIGTERM');
    expect(await code).toBe(exitCodes.failed);
    expect(trace.slice(2)).toEqual(['stop worker', 'stop store']);
  });

  it('stops a role that is still starting only when its start has settled, and starts no other', async () => {
    const starting = Promise.withResolvers<void>();
    const { os, trace, code } = host({ store: {}, worker: { start: () => starting.promise }, door: {} });
    await eventually(() => trace.includes('start worker'));
    os.emit('SIGTERM', 'SIGTERM');
    await new Promise((resolve) => setImmediate(resolve));
    expect(trace).toEqual(['start store', 'start worker']);
    starting.resolve();
    expect(await code).toBe(exitCodes.ok);
    expect(trace).toEqual(['start store', 'start worker', 'stop worker', 'stop store']);
  });

  it('exits at the deadline when a role does not stop, with the code of the signal', async () => {
    const { os, trace, code } = host({ store: {}, worker: { stop: () => never } }, 30);
    await eventually(() => trace.length === 2);
    os.emit('SIGTERM', 'SIGTERM');
    expect(await code).toBe(143);
    expect(os.exits).toEqual([143]);
    expect(trace).not.toContain('stop store');
  });

  it('exits at once on a second signal, but not on the echo of the first', async () => {
    const { os, trace, code } = host({ worker: { stop: () => never } }, 60_000);
    await eventually(() => trace.length === 1);
    os.emit('SIGINT', 'SIGINT');
    os.emit('SIGINT', 'SIGINT');
    await new Promise((resolve) => setImmediate(resolve));
    expect(os.exits).toEqual([]);
    await eventually(() => {
      os.emit('SIGINT', 'SIGINT');
      return os.exits.length > 0;
    });
    expect(await code).toBe(130);
    expect(os.exits).toEqual([130]);
  });

  it('makes a role from what those before it have started', async () => {
    const os = new FakeOs();
    const trace: string[] = [];
    let connection: string | undefined;
    const connect = { start: async () => void (connection = 'open'), stop: async () => void (connection = undefined) };
    const worker = (): Role => ({
      start: async () => void trace.push(`start with ${connection}`),
      stop: async () => void trace.push(`stop with ${connection}`),
    });
    const code = runProcess(
      [
        { name: 'connection', role: connect },
        { name: 'worker', role: worker },
      ],
      { log: silentLogger, os },
    );
    await eventually(() => trace.length === 1);
    os.emit('SIGTERM', 'SIGTERM');
    await code;
    expect(trace).toEqual(['start with open', 'stop with open']);
    expect(connection).toBeUndefined();
  });

  it('leaves no handlers behind', async () => {
    const { os, trace, code } = host({ worker: {} });
    await eventually(() => trace.length === 1);
    expect(os.eventNames().length).toBeGreaterThan(0);
    os.emit('SIGTERM', 'SIGTERM');
    await code;
    expect(os.eventNames()).toEqual([]);
  });
});

describe('the health port', () => {
  it('is ready between the last start and the first stop while all roles are healthy, and shows the metrics of app and process', async () => {
    const os = new FakeOs();
    const starting = Promise.withResolvers<void>();
    const stopping = Promise.withResolvers<void>();
    const registry = new Registry();
    new Counter({ name: 'bike_rows_total', help: 'rows', registers: [registry] }).inc(7);
    const port = await freePort();
    const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`);
    const statusIs = (status: number): Promise<boolean> => eventually(async () => (await get('/healthz')).status === status);

    let isHealthy = true;
    const role: Role = { start: () => starting.promise, stop: () => stopping.promise, isHealthy: () => isHealthy };
    const health = { port, host: '127.0.0.1', registry };
    const code = runProcess([{ name: 'worker', role }], { log: silentLogger, os, health });
    await statusIs(503);
    starting.resolve();
    await statusIs(200);
    const metrics = await (await get('/metrics')).text();
    expect(metrics).toContain('bike_rows_total 7');
    expect(metrics).toContain('process_cpu_seconds_total');
    expect((await get('/elsewhere')).status).toBe(404);
    isHealthy = false;
    await statusIs(503);
    isHealthy = true;
    await statusIs(200);
    os.emit('SIGTERM', 'SIGTERM');
    await statusIs(503);
    stopping.resolve();
    expect(await code).toBe(exitCodes.ok);
    await expect(get('/healthz')).rejects.toThrow();
  });

  it('that is taken ends the process before any role starts', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const trace: string[] = [];
    const health = { port, host: '127.0.0.1', registry: new Registry() };
    expect(await runProcess(tracedRoles(trace, { worker: {} }), { log: silentLogger, os: new FakeOs(), health })).toBe(
      exitCodes.usage,
    );
    expect(trace).toEqual([]);
    taken.close();
  });
});

/** A busy machine takes many seconds to start a process. */
const startMs = 100_000;

describe('a process', { timeout: startMs + 20_000 }, () => {
  const running: RunningProcess[] = [];
  afterEach(() => Promise.all(running.splice(0).map((program) => program.kill())));

  function run(...args: string[]): RunningProcess {
    const program = startProcess([join(import.meta.dirname, '../test/program.ts'), ...args]);
    running.push(program);
    return program;
  }

  const started = (program: RunningProcess): Promise<boolean> =>
    eventually(() => program.stderr.includes('"role":"worker","msg":"started"'), { timeoutMs: startMs });

  it('drains on SIGTERM, tells its story as JSON on stderr, and exits with 0', async () => {
    const program = run('serve');
    await started(program);
    program.signal('SIGTERM');
    expect(await program.ended()).toBe(0);
    expect(program.stdout).toBe('left in good order\n');
    const story = program.stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(story.map(({ name, role, signal, code, msg }) => [name, role ?? signal ?? code, msg].join(' '))).toEqual([
      'program store starting',
      'program store started',
      'program worker starting',
      'program worker started',
      'program SIGTERM stopping',
      'program worker stopping',
      'program worker stopped',
      'program store stopping',
      'program store stopped',
      'program 0 ended',
    ]);
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('is gone by the deadline after %s when a role hangs, with code %i', async (signal, expected) => {
    const program = run('serve', '--behaviour', 'stubborn', '--drain-ms', '50');
    await started(program);
    program.signal(signal);
    expect(await program.ended()).toBe(expected);
    expect(program.stderr).toContain('"roles":["store","worker"],"msg":"not stopped in time"');
    expect(program.stdout).toBe('');
  });

  it.each([
    ['unavailable', exitCodes.unavailable, '"role":"worker"', 'the broker did not answer within 60 s'],
    ['fails', exitCodes.failed, '"role":"worker"', 'the queue is gone'],
    ['throws', exitCodes.internal, '"role":"process"', 'Cannot read properties of undefined'],
    ['rejects', exitCodes.internal, '"role":"process"', 'nobody waits for this'],
  ])('whose worker %s exits with code %i and says whose fault it was', async (behaviour, expected, role, message) => {
    const program = run('serve', '--behaviour', behaviour);
    expect(await program.ended()).toBe(expected);
    const line = program.stderr.split('\n').find((each) => each.includes('"msg":"failed"'));
    expect(line).toContain(role);
    expect(line).toContain(message);
    expect(program.stderr).toContain('"role":"store","msg":"stopped"');
  });

  it('answers on its health port while it runs', async () => {
    const port = await freePort();
    const program = run('serve', '--health-port', String(port));
    const answers = async (): Promise<boolean> => (await fetch(`http://127.0.0.1:${port}/healthz`)).ok;
    expect(await eventually(answers, { timeoutMs: startMs })).toBe(true);
    program.signal('SIGTERM');
    expect(await program.ended()).toBe(0);
  });

  it('explains a wrong flag on stderr and exits with 2', async () => {
    const program = run('serve', '--drain', '5');
    expect(await program.ended()).toBe(exitCodes.usage);
    expect(program.stderr).toBe('there is no --drain\n"program.ts serve help" lists the settings\n');
  });
});
