import { describe, expect, it } from 'vitest';
import { IndefiniteError } from '../port.ts';
import { ProtocolError } from './codec.ts';
import { Outbox } from './outbox.ts';

const lost = new Error('the daemon died');

/** An outbox, and what it has sent. */
function start({ inFlightMax = 2, inFlightBytesMax = 10_000, waitingBytesMax = 10_000 } = {}) {
  const outbox = new Outbox({ inFlightMax, inFlightBytesMax, waitingBytesMax });
  const sent: string[] = [];
  const open = (): void => outbox.open((service, body) => void sent.push(`${service} ${String(body)}`));
  const add = (text: string): Promise<void> => outbox.add('fifo', Buffer.from(text));
  return { outbox, sent, open, add };
}

describe('an outbox', () => {
  it('sends in order, as many as may be in flight, and the next when one has come back', async () => {
    const { outbox, sent, open, add } = start();
    const [one, two, three] = [add('1'), add('2'), add('3')];
    expect(sent).toEqual([]);
    open();
    expect(sent).toEqual(['fifo 1', 'fifo 2']);
    outbox.cameBack('fifo', Buffer.from('1'));
    await one;
    expect(sent).toEqual(['fifo 1', 'fifo 2', 'fifo 3']);
    outbox.cameBack('fifo', Buffer.from('2'));
    outbox.cameBack('fifo', Buffer.from('3'));
    await Promise.all([two, three]);
    expect(outbox.inFlight).toBe(0);
  });

  it('has a bound on the bytes in flight too, which one message may pass', () => {
    const { outbox, sent, open, add } = start({ inFlightMax: 64, inFlightBytesMax: 1 });
    for (const text of ['1', '2']) void add(text);
    open();
    expect(sent).toEqual(['fifo 1']);
    outbox.cameBack('fifo', Buffer.from('1'));
    expect(sent).toEqual(['fifo 1', 'fifo 2']);
  });

  it('takes no more than may wait, and says so at once', async () => {
    const { add } = start({ waitingBytesMax: 1_000 });
    for (let count = 0; count < 3; count++) void add('x'.repeat(50));
    await expect(add('x'.repeat(90))).rejects.toThrow(/more than 1000 bytes of multicasts wait.*this one was not taken/);
    void add('x'.repeat(50));
  });

  it('cannot tell of what was in flight when the session is lost, and sends the rest in the next', async () => {
    const { outbox, sent, open, add } = start();
    open();
    const settled = Promise.allSettled([add('1'), add('2')]);
    const three = add('3');
    outbox.lose(lost);
    for (const result of await settled) {
      expect(result).toMatchObject({ status: 'rejected', reason: { cause: lost } });
      expect(result.status === 'rejected' && result.reason).toBeInstanceOf(IndefiniteError);
    }
    expect(sent).toEqual(['fifo 1', 'fifo 2']);
    open();
    expect(sent).toEqual(['fifo 1', 'fifo 2', 'fifo 3']);
    outbox.cameBack('fifo', Buffer.from('3'));
    await three;
  });

  it('fails loudly when what comes back is not the oldest in flight', () => {
    const { outbox, open, add } = start();
    open();
    expect(() => outbox.cameBack('fifo', Buffer.from('1'))).toThrow(
      new ProtocolError('a message of ours came back that is not in flight'),
    );
    for (const text of ['1', '2']) void add(text);
    expect(() => outbox.cameBack('fifo', Buffer.from('2'))).toThrow('it was changed or overtaken');
    expect(() => outbox.cameBack('safe', Buffer.from('1'))).toThrow(
      'came back as 1 bytes, safe; the oldest in flight has 1 bytes, fifo',
    );
  });

  it('when closed takes nothing, sends nothing, and still hears of what is in flight', async () => {
    const { outbox, sent, open, add } = start({ inFlightMax: 1 });
    open();
    const [one, two] = [add('1'), add('2')];
    const reason = new Error('left');
    outbox.close(reason);
    await expect(two).rejects.toBe(reason);
    await expect(add('3')).rejects.toBe(reason);
    outbox.cameBack('fifo', Buffer.from('1'));
    await one;
    expect(sent).toEqual(['fifo 1']);
  });
});
