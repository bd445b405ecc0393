import { assert, integer, array, property, record, constantFrom } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AckWindow } from './acks.ts';

/** What RabbitMQ keeps of a channel: its open deliveries in order, and how far it walked to find the acknowledged ones. */
class BrokerChannel {
  open: number[] = [];
  readonly acked: number[] = [];
  readonly returned: number[] = [];
  frames = 0;
  steps = 0;

  readonly sink = {
    ack: (tag: number, multiple: boolean): void => void this.acked.push(...this.#take(tag, multiple)),
    giveBack: (tag: number, multiple: boolean): void => void this.returned.push(...this.#take(tag, multiple)),
  };

  #take(tag: number, multiple: boolean): number[] {
    this.frames++;
    const index = this.open.indexOf(tag);
    if (index < 0) throw new Error(`unknown delivery tag ${tag}`);
    this.steps += multiple ? 0 : index;
    return this.open.splice(multiple ? 0 : index, multiple ? index + 1 : 1);
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function deliver(channel: BrokerChannel, window: AckWindow, count: number, first = 1): void {
  for (let tag = first; tag < first + count; tag++) {
    channel.open.push(tag);
    window.delivered(tag);
  }
}

describe('acknowledgements', () => {
  test('all outcomes of a turn become one acknowledgement', async () => {
    const channel = new BrokerChannel();
    const window = new AckWindow(65_535, channel.sink);
    deliver(channel, window, 20_000);
    for (let tag = 20_000; tag >= 1; tag--) window.settle(tag);
    await turn();
    expect(channel.open).toEqual([]);
    expect(channel.frames).toBe(1);
  });

  test('a consumer that keeps up acknowledges once a turn', async () => {
    const channel = new BrokerChannel();
    const window = new AckWindow(500, channel.sink);
    for (let round = 0; round < 10; round++) {
      deliver(channel, window, 100, round * 100 + 1);
      for (let tag = round * 100 + 1; tag <= round * 100 + 100; tag++) window.settle(tag);
      await turn();
    }
    expect(channel.open).toEqual([]);
    expect(channel.frames).toBe(10);
  });

  test('acknowledgements above thousands of open deliveries do not make the broker walk over these each time', async () => {
    const channel = new BrokerChannel();
    const window = new AckWindow(65_535, channel.sink);
    deliver(channel, window, 20_000);
    for (let tag = 10_001; tag <= 20_000; tag++) window.settle(tag);
    await turn();
    expect(channel.steps).toBe(0);
    for (let tag = 1; tag <= 10_000; tag++) window.settle(tag);
    await turn();
    expect(channel.open).toEqual([]);
    expect(channel.frames).toBe(1);
  });

  test('late acknowledgements go out when the prefetch runs short, so that deliveries go on', async () => {
    const channel = new BrokerChannel();
    const window = new AckWindow(160, channel.sink);
    deliver(channel, window, 160);
    for (let tag = 81; tag <= 160; tag++) window.settle(tag);
    await turn();
    expect(channel.open.length).toBeLessThanOrEqual(150);
  });

  test('finishing tells the broker of every delivery, at no walk', () => {
    const channel = new BrokerChannel();
    const window = new AckWindow(65_535, channel.sink);
    deliver(channel, window, 10_000);
    for (let tag = 2; tag <= 10_000; tag += 2) window.settle(tag);
    window.finish();
    expect([channel.acked.length, channel.returned.length, channel.steps]).toEqual([5_000, 5_000, 0]);
    expect(channel.acked.every((tag) => tag % 2 === 0)).toBe(true);
  });

  test('whatever happens, exactly what settled is acknowledged and exactly the rest is given back', () => {
    const step = record({ what: constantFrom('settle', 'give back', 'turn'), tag: integer({ min: 1, max: 200 }) });
    const prefetch = integer({ min: 1, max: 300 });
    const steps = array(step, { maxLength: 300 });
    return assert(
      property(prefetch, steps, (limit, all) => {
        const channel = new BrokerChannel();
        const window = new AckWindow(limit, channel.sink);
        const [settled, returned] = [new Set<number>(), new Set<number>()];
        deliver(channel, window, 200);
        for (const { what, tag } of all) {
          if (what === 'turn') window.flush();
          else if (!settled.has(tag) && !returned.has(tag)) {
            (what === 'settle' ? settled : returned).add(tag);
            if (what === 'settle') window.settle(tag);
            else window.giveBack(tag);
          }
        }
        window.finish();
        expect(channel.acked.sort((a, b) => a - b)).toEqual([...settled].sort((a, b) => a - b));
        expect(channel.returned).toHaveLength(200 - settled.size);
        expect(channel.open).toEqual([]);
      }),
    );
  });
});
