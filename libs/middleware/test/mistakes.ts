/** What must not happen, each as a change that a test sees: `npm run mutants -- middleware`. */
import type { Mistake } from '@lab/testing';

const [queue, server] = ['src/memory/queue.ts', 'src/memory/server.ts'];
const [failures, acks] = ['src/failures.ts', 'src/rabbitmq/acks.ts'];
const [held, seats, leases] = ['src/patterns/held.ts', 'src/patterns/seats.ts', 'src/patterns/leases.ts'];

export const mistakes: readonly Mistake[] = [
  { rule: 'lets go of held deliveries before the answer is out', file: held, right: 'await this.#publishing;', wrong: '' },
  {
    rule: 'gives an answer up that failed once',
    file: held,
    right: 'this.#publishing = undefined;\n      throw error;',
    wrong: 'throw error;',
  },
  {
    rule: 'lets a redelivered first copy go as a repeat',
    file: held,
    right: 'seenBefore && !delivery.redelivered',
    wrong: 'seenBefore',
  },
  {
    rule: 'keeps what was held for a seat that is given up',
    file: seats,
    right: 'this.#held.delete(queue);\n    this.#options.left(queue);',
    wrong: 'this.#held.delete(queue);',
  },
  { rule: 'gives up its only seat', file: seats, right: 'this.#held.size < 2', wrong: 'this.#held.size < 1' },
  { rule: 'opens a session by renewing it', file: leases, right: 'if (this.#leases.has(session)) this.of', wrong: 'this.of' },
  {
    rule: 'lets no session lapse',
    file: leases,
    right: '.filter(([, { expiresMs }]) => expiresMs <= nowMs)',
    wrong: '.slice(0, 0)',
  },
  {
    rule: 'lets go before its keeper knows',
    file: leases,
    right: 'await tell(session);',
    wrong: 'void tell(session).catch(() => undefined);',
  },
  {
    rule: 'counts a crash as a failure of the message',
    file: failures,
    right: "if (error instanceof SimulatedCrash) return 'return';",
    wrong: '',
  },
  { rule: 'tries poison again', file: failures, right: '(exhausted || error instanceof PoisonError)', wrong: 'exhausted' },
  { rule: 'begins the count of failures anew', file: failures, right: 'origin.failures + 1,', wrong: '1,' },
  {
    rule: 'gives back in the order of the hands that held it',
    file: queue,
    right: 'entries.toSorted((a, b) => a.order - b.order)',
    wrong: 'entries.toReversed()',
  },
  {
    rule: 'takes an outcome from a consumer that has left',
    file: queue,
    right: 'if (!this.#unsettled.delete(entry)) return;',
    wrong: 'this.#unsettled.delete(entry);',
  },
  {
    rule: 'gives up what came back twenty times',
    file: queue,
    right: 'const { deliveryLimit, deadLetterQueue } = this.options;\n    if (this.#removed) return entries',
    wrong: 'const { deliveryLimit = 20, deadLetterQueue } = this.options;\n    if (this.#removed) return entries',
  },
  {
    rule: 'lets who reads a removed log wait for another one',
    file: 'src/memory/log.ts',
    right: 'for (const reader of this.#readers) reader.end();',
    wrong: '',
  },
  {
    rule: 'hands more deliveries out than prefetch says',
    file: queue,
    right: 'this.#unsettled.size < this.options.prefetch',
    wrong: 'this.#unsettled.size <= this.options.prefetch',
  },
  {
    rule: 'lets a second single active consumer take',
    file: queue,
    right: 'if (this.options.singleActiveConsumer) return this.#consumers[0]?.hasRoom ? this.#consumers[0] : undefined;',
    wrong: '',
  },
  {
    rule: 'lets a publisher go on when the broker is full',
    file: server,
    right: 'return this.#bytes > this.#bytesMax;',
    wrong: 'return false;',
  },
  { rule: 'keeps the exclusive queues of a dead connection', file: server, right: 'queue.owner === connection', wrong: 'false' },
  {
    rule: 'tells nobody that the disk is lost',
    file: 'src/memory/connection.ts',
    right: 'this.#loss.happen(error);',
    wrong: '',
  },
  {
    rule: 'drops a dead letter that has nowhere to go',
    file: queue,
    right: 'this.#host.clock.after(nowhereMs, () => this.giveBack([entry]));',
    wrong: 'this.#release(entry);',
  },
  {
    rule: 'acknowledges with one tag what is still open',
    file: acks,
    right: 'if (tag > oldestOpen) above.push(tag);\n        else if',
    wrong: 'if',
  },
  {
    rule: 'keeps late acknowledgements until the oldest settles',
    file: acks,
    right: 'this.#open.size <= fewOpen ? Infinity : short',
    wrong: '0',
  },
];
