import { describe, expect, it } from 'vitest';
import { eventsOf, spanBatch, Words, type LiveEvent } from './spans.ts';

type Value = string | boolean;
const attributes = (all: Record<string, Value>): object[] =>
  Object.entries(all).map(([key, value]) => ({
    key,
    value: typeof value === 'string' ? { stringValue: value } : { boolValue: value },
  }));
const second = 1_700_000_000;

/** A span of a counter, which begins at a ms and takes 5 ms. */
function span(ms: number, kind: number, name: string, about: Record<string, Value>, rest: object = {}): object {
  const nano = (at: number): string => `${second}${String(at).padStart(3, '0')}250000`;
  return {
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'b7ad6b7169203331',
    name,
    kind,
    startTimeUnixNano: nano(ms),
    endTimeUnixNano: nano(ms + 5),
    attributes: attributes(about),
    events: [],
    status: { code: 0 },
    ...rest,
  };
}

function told(...spans: object[]): LiveEvent[] {
  const resource = { attributes: attributes({ 'service.name': 'counter-1', 'service.instance.id': 'i' }) };
  // As it comes over a wire.
  const line = JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'lab' }, spans }] }] });
  return eventsOf(spanBatch.parse(JSON.parse(line)), new Words());
}
const at = (ms: number): number => second * 1_000 + ms + 0.25;
const counter = { role: 'counter-1', process: 'i' };
const send = (to: string, key: string, words = 'batch 3') => ({
  'messaging.operation.type': 'send',
  'messaging.operation.name': 'publish',
  'messaging.destination.name': to,
  'messaging.rabbitmq.destination.routing_key': key,
  'lab.message': words,
});
const settle = (name: string) => ({
  'messaging.operation.type': 'settle',
  'messaging.operation.name': name,
  'messaging.destination.name': 'batches',
  'lab.message': 'batch 3',
  'lab.message.id': 'x',
});
const receive = { ...settle(''), 'messaging.operation.type': 'receive', 'lab.redelivered': true };

describe('spans of messages', () => {
  it('are calls when they are sent, deliveries, and settled at their end', () => {
    expect(
      told(span(1, 4, 'send batches', send('batches', 'batches')), span(2, 4, 'send words', send('words', 'every'))),
    ).toEqual([
      { ...counter, type: 'call', atMs: at(1), call: 'publish', to: 'batches', message: 'batch 3' },
      { ...counter, type: 'call', atMs: at(2), call: 'publish', to: 'words/every', message: 'batch 3' },
    ]);
    expect(told(span(1, 5, 'receive batches', receive), span(2, 5, 'settle batches', settle('ack')))).toEqual([
      { ...counter, type: 'delivery', atMs: at(1), from: 'batches', message: 'batch 3', redelivered: true },
      { ...counter, type: 'settled', atMs: at(7), from: 'batches', message: 'batch 3', ok: true },
    ]);
  });

  it('say why they have failed; what was not confirmed is no call', () => {
    const failed = { status: { code: 2, message: 'no room' } };
    expect(told(span(1, 5, 'settle batches', settle('nack'), failed))).toEqual([
      { ...counter, type: 'settled', atMs: at(6), from: 'batches', message: 'batch 3', ok: false },
      { ...counter, type: 'note', atMs: at(6), text: 'fails: no room' },
    ]);
    expect(told(span(1, 4, 'send batches', send('batches', 'batches'), failed))).toEqual([
      { ...counter, type: 'note', atMs: at(6), text: 'fails to send batches: no room' },
    ]);
  });

  it('that say the same in different traces are told apart, whoever is heard of first; wordless ones have their trace alone', () => {
    const other = { traceId: '1'.repeat(32) };
    const messages = told(
      span(1, 4, 'send', send('batches', 'batches')),
      span(2, 4, 'send', send('batches', 'batches'), other),
      span(3, 5, 'receive', receive, other),
      span(4, 5, 'receive', receive),
      span(5, 4, 'send', send('batches', 'batches', ''), other),
    ).map((event) => 'message' in event && event.message);
    expect(messages).toEqual(['batch 3', 'batch 3 #1111', 'batch 3 #1111', 'batch 3', '#1111']);
  });

  it('of a log, which brings no trace along, are known by their words', () => {
    const append = { ...send('answers', ''), 'messaging.operation.name': 'append' };
    const { 'lab.message.id': _, ...read } = receive;
    const messages = told(
      span(1, 4, 'send', append),
      span(2, 5, 'receive', read, { traceId: '1'.repeat(32) }),
      span(3, 5, 'receive', read, { traceId: '2'.repeat(32) }),
    ).map((event) => 'message' in event && event.message);
    expect(messages).toEqual(['batch 3', 'batch 3', 'batch 3']);
  });
});

describe('other spans', () => {
  it('of those who call are calls; of those who are called they are left out', () => {
    const request = { 'rpc.system': 'lab', 'rpc.method': 'Upload', 'server.address': 'server-1', 'lab.message': 'file a' };
    const query = { 'db.system.name': 'postgresql', 'db.operation.name': 'SELECT' };
    expect(told(span(1, 3, 'Upload', request), span(1, 2, 'Upload', request), span(2, 3, 'SELECT', query))).toEqual([
      { ...counter, type: 'call', atMs: at(1), call: 'Upload', to: 'server-1', message: 'file a' },
      { ...counter, type: 'call', atMs: at(2), call: 'SELECT', to: 'postgresql', message: '' },
    ]);
  });

  it('tell who consumes a queue before anything of it was settled: so it is known for no log', () => {
    const consume = { 'messaging.operation.name': 'consume', 'messaging.destination.name': 'batches' };
    expect(told(span(1, 3, 'consume batches', consume))).toEqual([
      { ...counter, type: 'call', atMs: at(1), call: 'consume', to: 'batches', message: '' },
    ]);
  });

  it('are notes where the app says something, in a span or in an event of one', () => {
    const events = [{ timeUnixNano: `${second}003250000`, name: 'x', attributes: attributes({ 'lab.note': 'epoch 4' }) }];
    expect(told(span(1, 1, 'note', { 'lab.note': 'leads' }), span(2, 1, 'work', {}, { events }))).toEqual([
      { ...counter, type: 'note', atMs: at(1), text: 'leads' },
      { ...counter, type: 'note', atMs: at(3), text: 'epoch 4' },
    ]);
  });

  it('are of the role that is known otherwise', () => {
    const batch = { resourceSpans: [{ scopeSpans: [{ spans: [span(1, 1, 'note', { 'lab.note': 'leads' })] }] }] };
    expect(eventsOf(spanBatch.parse(batch), new Words(), 'solver')[0]).toMatchObject({ role: 'solver', process: undefined });
    expect(spanBatch.safeParse({ resourceSpans: [{ scopeSpans: [{ spans: [{ name: 'x' }] }] }] }).success).toBe(false);
  });
});
