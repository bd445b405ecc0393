/** What must not happen, each as a change that a test sees: `npm run mutants -- word-count`. */
import type { Mistake } from '@lab/testing';

const [counter, reader] = ['src/roles/counter.ts', 'src/roles/reader.ts'];
const [domain, messages] = ['src/domain/word-count.ts', 'src/messages.ts'];

/** The simulation finds these. */
export const underFaults: readonly Mistake[] = [
  { rule: 'acknowledges before the answer is safe', file: counter, right: 'await held.settled;', wrong: '' },
  {
    rule: 'takes the last number for the end',
    file: counter,
    right: 'if (held.state.complete)',
    wrong: 'if (batch.number === batch.total - 1)',
  },
  { rule: 'forgets the answers of others', file: counter, right: "read(answers, 'first')", wrong: "read(answers, 'next')" },
  {
    rule: 'holds what comes after the answer',
    file: counter,
    right: 'if (this.#answered.has(batch.job)) return;',
    wrong: '',
  },
  { rule: 'holds fewer batches than a job has', file: counter, right: 'prefetch: heldMax', wrong: 'prefetch: 10' },
  { rule: 'counts a repeat', file: domain, right: 'if (this.#seen.has(number)) return;', wrong: '' },
];

export const mistakes: readonly Mistake[] = [
  ...underFaults,
  {
    rule: 'answers once for each reader that asks',
    file: counter,
    right: 'held.settleAfter(() => this.#answer(batch.job, held.state.counts))',
    wrong: 'this.#answer(batch.job, held.state.counts)',
  },
  {
    rule: 'completes a job that was refused',
    file: domain,
    right: 'for (const word of lines.flatMap(wordsOf)) {',
    wrong: 'this.#seen.add(number);\n    for (const word of lines.flatMap(wordsOf)) {',
  },
  { rule: 'lets empty lines be free in a batch', file: domain, right: 'line.length + 1', wrong: 'line.length' },
  { rule: 'lets both counters take batches', file: messages, right: 'singleActiveConsumer: true, ', wrong: '' },
  {
    rule: 'has no limit on the batches of a job',
    file: reader,
    right: 'if (total > batchesMax) throw',
    wrong: 'if (false) throw',
  },
  { rule: 'reads the answers after sending', file: reader, right: "read(answers, 'first')", wrong: "read(answers, 'next')" },
  { rule: 'drops a message that nobody can read', file: messages, right: ', deadLetterQueue: `${batches}.dead`', wrong: '' },
];
