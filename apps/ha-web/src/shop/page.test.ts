import { FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { Client, RefusedError, UnansweredError, type Answered } from './page/client.ts';
import { OrderDesk } from './page/pending-order.ts';

type Answer = Response | 'lost';

const json = (status: number, body: unknown): Response => new Response(JSON.stringify(body), { status });
const busy = (): Response => new Response('No server is there.', { status: 503 });

/** A browser whose requests are answered in turn; the last answer goes on for ever. */
function makeBrowser(...answers: readonly (() => Answer)[]) {
  const clock = new FakeClock();
  const requests: { method: string; path: string; key: string | null }[] = [];
  const answered: Answered[] = [];
  const storage = new Map<string, string>();
  const client = new Client({
    fetch: async (path, { method = 'GET', headers }) => {
      requests.push({ method, path, key: new Headers(headers).get('idempotency-key') });
      const answer = answers[Math.min(requests.length, answers.length) - 1]!();
      if (answer === 'lost') throw new TypeError('network error');
      return answer;
    },
    nowMs: () => clock.nowMs(),
    pause: async (ms) => clock.advance(ms),
    onAnswer: (each) => answered.push(each),
  });
  let keys = 0;
  const openDesk = (): OrderDesk =>
    new OrderDesk(
      client,
      {
        getItem: (key) => storage.get(key) ?? null,
        setItem: (key, value) => void storage.set(key, value),
        removeItem: (key) => void storage.delete(key),
      },
      () => `key-${++keys}`,
    );
  return { client, clock, requests, answered, openDesk };
}

describe('a request of the page', () => {
  it('is sent again while answers are lost or balancers have nobody', async () => {
    const { client, requests } = makeBrowser(
      () => 'lost',
      busy,
      () => json(200, ['there']),
    );
    expect(await client.get('/producers')).toEqual(['there']);
    expect(requests.map(({ path }) => path)).toEqual(['/api/producers', '/api/producers', '/api/producers']);
  });

  it('ends after 20 seconds without an answer', async () => {
    const { client, clock } = makeBrowser(() => 'lost');
    await expect(client.get('/producers')).rejects.toThrow(UnansweredError);
    expect(clock.nowMs()).toBeGreaterThan(17_000);
    expect(clock.nowMs()).toBeLessThanOrEqual(20_000);
  });

  it('is not sent again when it was refused, and says why', async () => {
    const problem = { type: 'urn:marketplace:out-of-stock', title: 'x', status: 409, detail: 'there are 3, not 4' };
    const { client, requests } = makeBrowser(() => json(409, problem));
    await expect(client.send('POST', '/orders', {})).rejects.toMatchObject({
      name: 'RefusedError',
      status: 409,
      message: problem.detail,
    });
    expect(requests).toHaveLength(1);
  });

  it('is not refused by a server that is not the API, nor by a mistake', async () => {
    const mistake = { type: 'urn:marketplace:internal', title: 'x', status: 500, detail: 'It was noted.' };
    const others = [new Response('There is only the page', { status: 404 }), json(400, { type: 'about:blank' }), json(404, null)];
    for (const answer of [...others, json(500, mistake)]) {
      const { client, requests } = makeBrowser(() => answer);
      await expect(client.get('/producers')).rejects.toThrow(answer.status === 500 ? 'It was noted.' : `says ${answer.status}`);
      expect(requests).toHaveLength(1);
    }
  });

  it('says who answered', async () => {
    const headers = { 'x-web-server': 'web-2', 'x-balancer': 'lb-1', 'x-database': 'db-2' };
    const { client, answered } = makeBrowser(() => new Response('[]', { headers }));
    await client.get('/producers');
    expect(answered).toEqual([{ webServer: 'web-2', balancer: 'lb-1', database: 'db-2' }]);
  });
});

describe('an order on its way', () => {
  const order = { items: [{ productId: 1, quantity: 1 }], totalCents: 150, deliverTo: 'Ana, Lisboa' };

  it('keeps its key over a reload, until it is answered', async () => {
    let isUp = false;
    const { openDesk, requests } = makeBrowser(() => (isUp ? json(201, { id: 7 }) : 'lost'));
    const desk = openDesk();
    await expect(desk.send(desk.write(1, order))).rejects.toThrow(UnansweredError);
    const reloaded = openDesk();
    isUp = true;
    expect(await reloaded.send(reloaded.pending(1)!)).toEqual({ id: 7 });
    expect(new Set(requests.map(({ key }) => key))).toEqual(new Set(['key-1']));
    expect(reloaded.pending(1)).toBeUndefined();
  });

  it('is forgotten when it is refused, but not for want of a login', async () => {
    const refusal = (status: number, kind: string) => () =>
      json(status, { type: `urn:marketplace:${kind}`, title: '', status, detail: kind });
    const { openDesk } = makeBrowser(refusal(401, 'not-logged-in'), refusal(409, 'price-changed'));
    const desk = openDesk();
    await expect(desk.send(desk.write(1, order))).rejects.toThrow(RefusedError);
    expect(desk.pending(1)?.key).toBe('key-1');
    await expect(desk.send(desk.pending(1)!)).rejects.toThrow('price-changed');
    expect(desk.pending(1)).toBeUndefined();
  });

  it('is kept when a server refuses it that is not the API', async () => {
    const { openDesk } = makeBrowser(
      () => new Response('There is only the page, at /', { status: 404 }),
      () => json(201, { id: 7 }),
    );
    const desk = openDesk();
    await expect(desk.send(desk.write(1, order))).rejects.toThrow(UnansweredError);
    expect(await desk.send(desk.pending(1)!)).toEqual({ id: 7 });
  });

  it('is nobody else’s', () => {
    const desk = makeBrowser(busy).openDesk();
    desk.write(1, order);
    expect(desk.pending(2)).toBeUndefined();
  });
});
