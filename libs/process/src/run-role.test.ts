import { EventEmitter } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { exitCodes } from './exit-codes.ts';
import type { OsProcess } from './run-process.ts';
import { runRole, type RoleHost } from './run-role.ts';

class FakeOs extends EventEmitter implements OsProcess {
  exited: number | undefined;
  exit(code: number): void {
    this.exited = code;
  }
}

/** Writes down what happens, in order. */
class Story {
  readonly told: string[] = [];
  readonly os = new FakeOs();

  tell = async (what: string): Promise<void> => void this.told.push(what);

  opened(name: string): { name: string; close(): Promise<void> } {
    void this.tell(`${name} opened`);
    return { name, close: () => this.tell(`${name} closed`) };
  }

  run(make: Parameters<typeof runRole>[1]): Promise<number> {
    return runRole({ name: 'counter', logLevel: 'error', os: this.os }, make);
  }
}

const unavailable = (): Error => Object.assign(new Error('no broker'), { exitCode: exitCodes.unavailable });

it('opens what a role needs before it, and closes it behind it, the last first', async () => {
  const story = new Story();
  const make = async ({ open }: RoleHost) => {
    const store = await open(story.opened('store'));
    const broker = await open(Promise.resolve(story.opened('broker')));
    await story.tell(`made of ${store.name} and ${broker.name}`);
    return {
      start: async () => {
        await story.tell('started');
        story.os.emit('SIGTERM', 'SIGTERM');
      },
      stop: () => story.tell('stopped'),
    };
  };
  expect(await story.run(make)).toBe(exitCodes.ok);
  expect(story.told).toEqual([
    'store opened',
    'broker opened',
    'made of store and broker',
    'started',
    'stopped',
    'broker closed',
    'store closed',
  ]);
});

it('closes what it has opened when the next thing cannot be had, and says so by its exit code', async () => {
  const story = new Story();
  const make = async ({ open }: RoleHost) => {
    await open(story.opened('store'));
    await open(Promise.reject<{ close(): Promise<void> }>(unavailable()));
    return { start: () => story.tell('started'), stop: () => story.tell('stopped') };
  };
  expect(await story.run(make)).toBe(exitCodes.unavailable);
  expect(story.told).toEqual(['store opened', 'store closed']);
});

it('ends when the role says that it cannot go on', async () => {
  const story = new Story();
  const make = ({ open }: RoleHost) => {
    const failed = Promise.withResolvers<never>();
    const start = async (): Promise<void> => {
      await open(story.opened('late'));
      failed.reject(unavailable());
    };
    return { start, stop: () => story.tell('stopped'), failed: failed.promise };
  };
  expect(await story.run(make)).toBe(exitCodes.unavailable);
  expect(story.told).toEqual(['late opened', 'stopped', 'late closed']);
});

it('closes the rest although the role cannot stop', async () => {
  const story = new Story();
  const make = async ({ open }: RoleHost) => {
    await open(story.opened('store'));
    return {
      start: async () => void story.os.emit('SIGINT', 'SIGINT'),
      stop: () => Promise.reject(new Error('stuck')),
    };
  };
  expect(await story.run(make)).toBe(exitCodes.failed);
  expect(story.told).toEqual(['store opened', 'store closed']);
});

it('gives up at once on a signal while it waits for what a role needs, and closes what it has', async () => {
  const story = new Story();
  const make = async ({ open }: RoleHost) => {
    await open(story.opened('store'));
    setImmediate(() => story.os.emit('SIGTERM', 'SIGTERM'));
    await open(new Promise<{ close(): Promise<void> }>(() => {}));
    return { start: () => story.tell('started'), stop: () => story.tell('stopped') };
  };
  expect(await story.run(make)).toBe(exitCodes.ok);
  expect(story.told).toEqual(['store opened', 'store closed']);
  // Or what it waited for would keep the process alive.
  expect(story.os.exited).toBe(exitCodes.ok);
});

it('ends with an error when something is lost that the role cannot do without', async () => {
  const story = new Story();
  const make = async ({ open, fail }: RoleHost) => {
    await open(story.opened('broker'));
    return { start: async () => fail(unavailable()), stop: () => story.tell('stopped') };
  };
  expect(await story.run(make)).toBe(exitCodes.unavailable);
  expect(story.told).toEqual(['broker opened', 'stopped', 'broker closed']);
});

it('gives its role a tracer where a mode is set, and tells its spans to the end; otherwise none', async () => {
  const bodies: string[] = [];
  const collector = createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => (body += part.toString()));
    request.on('end', () => (bodies.push(body), response.end()));
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const otelExporterOtlpEndpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  const tracers: unknown[] = [];
  for (const labTrace of [undefined, 'off', 'all'] as const) {
    const os = new FakeOs();
    const options = { name: 'counter', logLevel: 'error', os, labTrace, otelExporterOtlpEndpoint } as const;
    await runRole(options, ({ tracer }) => {
      tracers.push(tracer);
      tracer?.startSpan('last').end();
      return { start: async () => void os.emit('SIGTERM', 'SIGTERM'), stop: async () => {} };
    });
  }
  collector.closeAllConnections();
  collector.close();
  expect(tracers.slice(0, 2)).toEqual([undefined, undefined]);
  expect(bodies).toEqual([expect.stringContaining('"name":"last"')]);
});
