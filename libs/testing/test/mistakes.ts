/** What a load must not do, each as a change that a test sees: `npm run mutants -- testing`. */
import type { Mistake } from '../src/index.ts';

const load = 'src/load.ts';
const program = 'src/load-program.ts';

export const mistakes: readonly Mistake[] = [
  {
    rule: 'takes an operation that failed for one that was refused',
    file: load,
    right: "error instanceof Refused ? 'refused' : 'unknown'",
    wrong: "'refused'",
  },
  {
    rule: 'calls a promise kept of which nothing was looked at',
    file: load,
    right: 'isJudged && this.#held > 0 ? true : null',
    wrong: 'isJudged ? true : null',
  },
  {
    rule: 'calls a promise kept before it is judged',
    file: load,
    right: 'isJudged && this.#held > 0 ? true : null',
    wrong: 'this.#held > 0 ? true : null',
  },
  {
    rule: 'judges a system that takes no work',
    file: load,
    right: 'await Promise.all([drained, withDeadline(this.#takesWork(patienceMs), patienceMs, late)]);',
    wrong: 'await drained;',
  },
  {
    rule: 'judges while operations are in hand',
    file: load,
    right: 'await Promise.all([drained, ',
    wrong: 'await Promise.all([',
  },
  {
    rule: 'judges once, whether the system was there or not',
    file: load,
    right: 'if (performance.now() > untilMs) throw error;',
    wrong: 'throw error;',
  },
  {
    rule: 'waits for ever for what hangs',
    file: load,
    right: 'const drained = withDeadline(this.#working, patienceMs, late)',
    wrong: 'const drained = this.#working',
  },
  {
    rule: 'counts twice what was given up and ends later',
    file: load,
    right: 'if (!this.#begunMs.delete(number)) return;',
    wrong: 'this.#begunMs.delete(number);',
  },
  {
    rule: 'leaves at Ctrl-C without a judgement',
    file: program,
    right: 'if (performance.now() - this.#firstMs > echoMs) this.#second.resolve();',
    wrong: 'this.#second.resolve();',
  },
  {
    rule: 'ends well though a promise is broken',
    file: program,
    right: 'if (isBroken(verdicts)) return exitCodes.broken;',
    wrong: '',
  },
];
