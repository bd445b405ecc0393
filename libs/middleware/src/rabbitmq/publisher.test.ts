/** Confirms that are lost while the connection lives, which no broker does when it is told to. */
import { EventEmitter } from 'node:events';
import type { ChannelModel } from 'amqplib';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Publisher } from './publisher.ts';

type Confirm = (error: Error | null) => void;

class FakeChannel extends EventEmitter {
  readonly sent: { text: string; confirm: Confirm }[] = [];
  isClosed = false;
  publish(_exchange: string, _key: string, body: Buffer, _properties: object, confirm: Confirm): void {
    this.sent.push({ text: body.toString(), confirm });
  }
  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
  get texts(): string[] {
    return this.sent.map(({ text }) => text);
  }
}

async function publishing(): Promise<{ publisher: Publisher; channels: FakeChannel[] }> {
  const channels: FakeChannel[] = [];
  const createConfirmChannel = (): Promise<FakeChannel> => {
    channels.push(new FakeChannel());
    return Promise.resolve(channels.at(-1)!);
  };
  const connection = Object.assign(new EventEmitter(), { createConfirmChannel }) as unknown as ChannelModel;
  const log = { info: () => {}, warn: () => {}, error: () => {} };
  const ready = (): Promise<void> => Promise.resolve();
  const publisher = new Publisher({ confirmTimeoutMs, unconfirmedBytesMax: 1e6, random: Math.random, log, ready });
  await publisher.attach(connection);
  return { publisher, channels };
}

/** The publisher looks after its confirms four times in it. */
const confirmTimeoutMs = 1_000;
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

it('publishes all again when a probe is confirmed and what went out before it is not', async () => {
  const { publisher, channels } = await publishing();
  const published = ['one', 'two', 'three'].map((text) => publisher.publish('', 'queue', Buffer.from(text), undefined));
  await pass(confirmTimeoutMs);
  expect(channels[1]!.texts).toEqual(['one']);
  channels[1]!.sent[0]!.confirm(null);
  await published[0];
  await pass(confirmTimeoutMs / 4);
  expect(channels[1]!.texts).toEqual(['one', 'two', 'three']);
  expect(channels.map(({ isClosed }) => isClosed)).toEqual([true, false]);
  for (const { confirm } of channels[1]!.sent) confirm(null);
  await Promise.all(published);
  await publisher.close(0);
});

it('has one probe out as long as nothing is confirmed, and closes it when confirms come', async () => {
  const { publisher, channels } = await publishing();
  const published = ['one', 'two'].map((text) => publisher.publish('', 'queue', Buffer.from(text), undefined));
  await pass(10 * confirmTimeoutMs);
  expect(channels.map(({ texts }) => texts)).toEqual([['one', 'two'], ['one']]);
  for (const { confirm } of channels[0]!.sent) confirm(null);
  await Promise.all(published);
  const later = publisher.publish('', 'queue', Buffer.from('later'), undefined);
  await pass(confirmTimeoutMs / 4);
  expect(channels.map(({ isClosed }) => isClosed)).toEqual([false, true]);
  channels[0]!.sent.at(-1)!.confirm(null);
  await later;
  expect(channels[0]!.texts).toEqual(['one', 'two', 'later']);
  await publisher.close(0);
});

it('leaves a channel on which the broker does not take a message, with all that is not confirmed there', async () => {
  const { publisher, channels } = await publishing();
  const published = ['one', 'two', 'three'].map((text) => publisher.publish('', 'queue', Buffer.from(text), undefined));
  channels[0]!.sent[0]!.confirm(null);
  for (const { confirm } of channels[0]!.sent.slice(1)) confirm(new Error('nack'));
  await pass(confirmTimeoutMs);
  expect(channels.map(({ texts }) => texts)).toEqual([
    ['one', 'two', 'three'],
    ['two', 'three'],
  ]);
  expect(channels.map(({ isClosed }) => isClosed)).toEqual([true, false]);
  for (const { confirm } of channels[1]!.sent) confirm(null);
  await Promise.all(published);
  await publisher.close(0);
});

it('asks again where the broker did not take the probe', async () => {
  const { publisher, channels } = await publishing();
  const published = publisher.publish('', 'queue', Buffer.from('one'), undefined);
  await pass(confirmTimeoutMs);
  channels[1]!.sent[0]!.confirm(new Error('nack'));
  expect(channels[1]!.isClosed).toBe(true);
  await pass(confirmTimeoutMs / 4);
  channels[2]!.sent[0]!.confirm(null);
  await published;
  await publisher.close(0);
});
