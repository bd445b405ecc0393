/** What must not happen, each as a change that a test sees: `npm run mutants -- watch`. */
import type { Mistake } from '@lab/testing';

const [model, scale, layout, recording] = ['src/model.ts', 'src/scale.ts', 'src/layout.ts', 'src/recording.ts'];
const [document, server, journey] = ['src/document.ts', 'src/server.ts', 'src/journey.ts'];

export const mistakes: readonly Mistake[] = [
  {
    rule: 'goes on from a later moment when it steps back',
    file: model,
    right: 'last.count <= count &&',
    wrong: '',
  },
  {
    rule: 'keeps one checkpoint for all, which the fold then changes',
    file: model,
    right: 'checkpoints.push(structuredClone(folding));\n    fold',
    wrong: 'checkpoints.push(folding);\n    fold',
  },
  {
    rule: 'loses from its queue what a dead process held',
    file: model,
    right: 'state.queues[queue]!.held--;\n    addTo(state.queues[queue]!.waiting, message, 1);',
    wrong: 'state.queues[queue]!.held--;',
  },
  {
    rule: 'counts what an exchange sends into queues of lives that are over',
    file: model,
    right: 'if (!index.exists(queue, at)) continue;',
    wrong: '',
  },
  {
    rule: 'takes what a sample tells for the depth of a queue',
    file: model,
    right: "if (live?.tells === 'some') return undefined;",
    wrong: '',
  },
  {
    rule: 'lets a new leader stand beside the old one',
    file: model,
    right: 'if (concerns(each)) state',
    wrong: 'if (isLeader(each)) state',
  },
  {
    rule: 'has events that are there at a position only after it',
    file: scale,
    right: 'place(at) <= value),\n    msAt',
    wrong: 'place(at) < value),\n    msAt',
  },
  {
    rule: 'has who asks behind who was up first',
    file: layout,
    right: 'asks.test(label) ? first - eventsMax : first',
    wrong: 'first',
  },
  {
    rule: 'leaves out what happened around faults',
    file: recording,
    right: "(event.type !== 'fault' && event.type !== 'promise')) continue;",
    wrong: "event.type !== 'promise') continue;",
  },
  {
    rule: 'leaves out half of a message',
    file: recording,
    right: "if ('message' in near && delivered.has(near.message)) whole.add(near.message);",
    wrong: '',
  },
  {
    rule: 'reads another version as if it were this one',
    file: recording,
    right: "if (type === 'run' && version !== eventsVersion)",
    wrong: 'if (version === undefined && type === undefined)',
  },
  {
    rule: 'lets a message end the element that the recording stands in',
    file: document,
    right: ".replaceAll('<', '\\\\u003c')",
    wrong: '',
  },
  {
    rule: 'answers who comes by another name',
    file: server,
    right: 'host !== own ||',
    wrong: '',
  },
  {
    rule: 'tells no try but the first',
    file: journey,
    right: 'tries.set(event.from, nth);',
    wrong: '',
  },
];
