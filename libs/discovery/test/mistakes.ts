/** What must not happen, each as a change that a test sees: `npm run mutants -- discovery`. */
import type { Mistake } from '@lab/testing';

const [connection, state] = ['src/memory/connection.ts', 'src/memory/state.ts'];
const [latest, timing] = ['src/latest.ts', 'src/timing.ts'];

export const mistakes: readonly Mistake[] = [
  {
    rule: 'leads on without contact until the session ends',
    file: timing,
    right: '(sessionTimeoutMs * 3) / 4',
    wrong: 'sessionTimeoutMs * 2',
  },
  { rule: 'leads under an epoch that was there before', file: state, right: 'return ++this.#epoch;', wrong: 'return 1;' },
  {
    rule: 'lets the newest candidate lead',
    file: state,
    right: 'const [first] = this.#candidates;',
    wrong: 'const first = [...this.#candidates].at(-1);',
  },
  { rule: 'tells nobody that the leader has gone', file: state, right: 'if (wasFirst) next?.();', wrong: '' },
  { rule: 'gives a sequence twice', file: state, right: 'this.#next++', wrong: 'this.#instances.size' },
  { rule: 'shows those who have gone', file: state, right: 'this.#instances.delete(sequence);', wrong: '' },
  {
    rule: 'writes a record over what another wrote',
    file: state,
    right: 'if (this.#state?.version !== version) return undefined;',
    wrong: '',
  },
  {
    rule: 'leaves the last change out of a watch',
    file: latest,
    right: 'this.#newest = { value };',
    wrong: 'this.#newest ??= { value };',
  },
  {
    rule: 'announces again what was withdrawn while cut off',
    file: connection,
    right: '        this.#announced.delete(announced);\n',
    wrong: '',
  },
  {
    rule: 'announces nothing in the session that follows',
    file: connection,
    right: 'if (this.#session.ended) this.#renew();',
    wrong: 'if (this.#session.ended) this.#session = new MemorySession();',
  },
  {
    rule: 'does late what its caller has given up',
    file: connection,
    right: '      this.#pending.delete(pending);\n',
    wrong: '',
  },
  {
    rule: 'does not wait on in the session that follows',
    file: connection,
    right: 'for (const candidacy of this.#candidacies) this.#enter(candidacy);\n    for',
    wrong: 'for',
  },
  {
    rule: 'lets an aborted candidate stand in the line',
    file: connection,
    right: 'if (candidacy.place) await this.#leave(candidacy.place);\n    candidacy.won.reject(reason);',
    wrong: 'candidacy.won.reject(reason);',
  },
  {
    rule: 'tells a dead process that its call has failed',
    file: connection,
    right: 'for (const { cancelDeadline } of this.#pending) cancelDeadline();',
    wrong: '',
  },
];
