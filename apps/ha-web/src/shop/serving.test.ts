import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import { silentLogger } from '@lab/process';
import { eventually, FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { Serving } from './serving.ts';

const lameDuckMs = 1_500;

async function startServing() {
  const clock = new FakeClock();
  const serving = new Serving({ name: 'web-1', host: '127.0.0.1', port: 0, lameDuckMs, clock, log: silentLogger });
  const held = Promise.withResolvers<void>();
  serving.app.get('/quick', async () => 'quick');
  serving.app.get('/slow', async () => held.promise.then(() => 'slow'));
  await serving.start();
  return { serving, port: serving.port, clock, answerSlow: held.resolve };
}

async function get(
  { port }: { port: number },
  path: string,
  agent?: Agent,
): Promise<{ status: number; headers: IncomingMessage['headers'] }> {
  const asked = request({ port, host: '127.0.0.1', path, ...(agent !== undefined && { agent }) }).end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  answer.resume();
  await once(answer, 'end');
  return { status: answer.statusCode!, headers: answer.headers };
}

describe('a web server', () => {
  it('names itself, also to who asks for what is no address, and says whether it is ready', async () => {
    const { serving, port, clock } = await startServing();
    expect(await get({ port }, '/health')).toMatchObject({ status: 200, headers: { 'x-web-server': 'web-1' } });
    expect(await get({ port }, '/%ff')).toMatchObject({ status: 400, headers: { 'x-web-server': 'web-1' } });
    serving.isReady = false;
    expect((await get({ port }, '/health')).status).toBe(503);
    const stopped = serving.stop();
    clock.advance(lameDuckMs);
    await stopped;
  });

  it('that is stopped is unhealthy at once, serves until balancers know, ends connections with answers, and what it has in hand', async () => {
    const { serving, port, clock, answerSlow } = await startServing();
    await using stack = new AsyncDisposableStack();
    const agent = stack.adopt(new Agent({ keepAlive: true }), async (each) => each.destroy());
    expect((await get({ port }, '/quick', agent)).headers.connection).toBe('keep-alive');
    const slow = get({ port }, '/slow');
    const stopped = serving.stop();
    expect((await get({ port }, '/health')).status).toBe(503);
    expect(await get({ port }, '/quick', agent)).toMatchObject({ status: 200, headers: { connection: 'close' } });
    clock.advance(lameDuckMs);
    await eventually(() =>
      get({ port }, '/quick').then(
        () => false,
        ({ code }: { code?: string }) => code === 'ECONNREFUSED',
      ),
    );
    answerSlow();
    expect((await slow).status).toBe(200);
    await stopped;
  });

  it('cuts off what is not answered in time', async () => {
    const { serving, port, clock } = await startServing();
    const cutOff = expect(get({ port }, '/slow')).rejects.toThrow('socket hang up');
    await eventually(() => new Promise<number>((resolve) => serving.app.server.getConnections((_, count) => resolve(count))));
    const stopped = serving.stop();
    await clock.advanceAsync(lameDuckMs);
    await clock.advanceAsync(9_000);
    await cutOff;
    await stopped;
  });
});
