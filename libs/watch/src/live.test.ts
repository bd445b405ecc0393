import { afterEach, describe, expect, it } from 'vitest';
import { makeTemplate } from './document.ts';
import { Feed } from './feed.ts';
import { serveLive, type Breakable, type More, type Whole } from './live.ts';

const template = await makeTemplate();
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

/** The messages of the server, as a browser has them. */
async function listen(url: string): Promise<() => Promise<{ event: string; data: Whole & More }>> {
  const { body } = await fetch(`${url}events`);
  const parts = body!.pipeThrough(new TextDecoderStream()).values();
  let text = '';
  return async () => {
    while (!text.includes('\n\n')) text += (await parts.next()).value ?? expect.fail('the stream has ended');
    const [, event = 'message', data, rest] = /^(?:event: (\w+)\n)?data: (.*)\n\n([^]*)$/.exec(text)!;
    text = rest!;
    return { event, data: JSON.parse(data!) as Whole & More };
  };
}

/** What is told until it is so many texts. */
async function heard(
  next: Awaited<ReturnType<typeof listen>>,
  count: number,
): Promise<{ texts: unknown[]; depths: object | undefined }> {
  let [all, depths]: [unknown[], object | undefined] = [[], undefined];
  while (all.length < count) {
    const { data } = await next();
    all = [...all, ...texts(data.events)];
    depths = data.depths?.queues ?? depths;
  }
  return { texts: all, depths };
}

const note = (text: string) => ({ type: 'note' as const, atMs: Date.now(), role: 'worker', text });
const texts = (events: readonly object[] = []): unknown[] => events.flatMap((event) => ('text' in event ? [event.text] : []));

async function served(breakable?: Breakable) {
  const feed = new Feed({ system: 'yours', startMs: Date.now(), tells: 'some' });
  const live = await serveLive(template, feed, 0, breakable);
  open.push(live);
  return { feed, ...live };
}
const post = (url: string, body: unknown): Promise<Response> =>
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

describe('the page of a run that goes on', () => {
  it('has all that there was, and is told whatever comes', async () => {
    const { feed, url, isAnybodyThere } = await served();
    feed.push([note('before')]);
    expect(isAnybodyThere()).toBe(false);
    const next = await listen(url);
    const first = await next();
    expect([first.event, texts(first.data.recording.events)]).toEqual(['whole', ['before']]);
    expect(isAnybodyThere()).toBe(true);
    feed.pushDepths(Date.now(), { jobs: { ready: 1, held: 2, rate: 3 } });
    feed.push([note('after')]);
    expect(await heard(next, 1)).toEqual({ texts: ['after'], depths: { jobs: { ready: 1, held: 2, rate: 3 } } });
    expect(texts((await (await listen(url))()).data.recording.events)).toEqual(['before', 'after']);
  });

  it('is a document by itself, and is saved without what only its server can do', async () => {
    const { feed, url } = await served();
    feed.push([note('</script>')]);
    const page = await (await fetch(url)).text();
    expect(page).toContain('<html data-live');
    expect(page).toContain("connect-src 'self'");
    const saved = await (await fetch(`${url}save`)).text();
    expect(saved).toContain('\\u003c/script>');
    expect(saved).not.toMatch(/data-live|connect-src/);
  });

  it('takes spans, as a collector does, and refuses what is none', async () => {
    const { url } = await served();
    const next = await listen(url);
    await next();
    const nano = `${Date.now() + 1}000000`;
    const span = { traceId: '1', name: 'note', startTimeUnixNano: nano, endTimeUnixNano: nano };
    const said = (text: string) => ({
      resourceSpans: [
        {
          resource: { attributes: [{ key: 'service.name', value: { stringValue: 'worker' } }] },
          scopeSpans: [
            {
              spans: [
                {
                  ...span,
                  kind: 1,
                  attributes: [{ key: 'lab.note', value: { stringValue: text } }],
                  events: [],
                  status: { code: 0 },
                },
              ],
            },
          ],
        },
      ],
    });
    expect((await post(`${url}v1/traces`, said('by HTTP'))).status).toBe(200);
    expect((await heard(next, 1)).texts).toEqual(['by HTTP']);
    expect((await post(`${url}v1/traces`, { resourceSpans: [{ scopeSpans: [{ spans: [{}] }] }] })).status).toBe(400);
  });

  it('breaks what it may break, and says what came of it', async () => {
    const asked: unknown[] = [];
    const { url } = await served({
      breaking: { command: 'npx nx break yours', verbs: { pause: { words: 'A', summary: 'stands still' } } },
      strike: async (words) => {
        asked.push(words);
        if (words[1] === 'nobody') throw new Error('"nobody" is no target; there are worker');
        return 'worker paused';
      },
      metricsOf: async (role) => ({ [`${role}_jobs`]: 3 }),
    });
    const { breaking } = (await (await listen(url))()).data;
    expect(breaking).toEqual({ command: 'npx nx break yours', verbs: { pause: { words: 'A', summary: 'stands still' } } });
    expect(await (await post(`${url}break`, { words: ['pause', 'worker'] })).text()).toBe('worker paused');
    const refused = await post(`${url}break`, { words: ['pause', 'nobody'] });
    expect([refused.status, await refused.text()]).toEqual([400, '"nobody" is no target; there are worker\n']);
    expect((await post(`${url}break`, { words: 'pause' })).status).toBe(400);
    expect(asked).toHaveLength(2);
    expect(await (await post(`${url}metrics`, { role: 'worker' })).json()).toEqual({ worker_jobs: 3 });
  });

  it('breaks nothing where there is nothing to break, and for nobody from elsewhere', async () => {
    const { url } = await served();
    expect((await post(`${url}break`, { words: ['kill', 'worker'] })).status).toBe(405);
    const elsewhere = await fetch(`${url}v1/traces`, { method: 'POST', headers: { origin: 'https://evil.example' }, body: '{}' });
    expect(elsewhere.status).toBe(403);
  });
});
