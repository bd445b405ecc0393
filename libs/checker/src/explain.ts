/** Verdicts in words. */
import type { Verdict } from './check.ts';
import type { Invocation, Operation } from './history.ts';

/** The end of the order is what leads to the failure. */
const orderLinesMax = 10;
/** Of one input, output or state. */
const textLengthMax = 100;

/** What the verdict says, for people: of a wrong history, what fits, and the first operation that fits nowhere. */
export function explain<State, Input extends Invocation, Output>(verdict: Verdict<State, Input, Output>): string {
  if (verdict.result === 'linearizable') return `linearizable: found in ${verdict.steps} steps`;
  if (verdict.result === 'unknown')
    return `unknown: given up after ${verdict.steps} steps${on(verdict.partition)}. Too many operations overlap or have no answer: make the history shorter, part it by keys, or allow for more steps`;
  const { partition, order, state, misfit, underWay } = verdict.failure;
  const shown = order.slice(-orderLinesMax);
  const clientWidth = Math.max(...[...shown, misfit, ...underWay].map(({ client }) => client.length));
  const line = (operation: Operation<Input, Output>): string => `  ${lineOf(operation, clientWidth)}\n`;
  const others = underWay.length === 0 ? '' : `Under way then, and no help:\n${underWay.map(line).join('')}`;
  return `not linearizable${on(partition)}: no order of the operations explains what they saw
${headOf(order.length, shown.length)}${shown.map(line).join('')}Then the state is ${textOf(state)}, and this fits nowhere:
${line(misfit)}${others}`.trimEnd();
}

const on = (partition: string): string => (partition === '' ? '' : ` on ${JSON.stringify(partition)}`);

function headOf(count: number, shownCount: number): string {
  if (count === 0) return 'Nothing comes before.\n';
  return `These fit, in this order${count === shownCount ? '' : ` (the last ${shownCount} of ${count})`}:\n`;
}

/** Such as `bob  write(2) → no answer  (called at 3 ms)`. */
function lineOf<Input extends Invocation, Output>(
  { client, input, calledMs, answer }: Operation<Input, Output>,
  width: number,
): string {
  const { op, ...fields } = input;
  const call = `${op}(${Object.values(fields).map(textOf).join(', ')})`;
  const name = client.padEnd(width);
  if (answer === undefined) return `${name}  ${call} → no answer  (called at ${timeOf(calledMs)})`;
  const output = answer.output === undefined ? 'ok' : textOf(answer.output);
  return `${name}  ${call} → ${output}  (from ${timeOf(calledMs)} to ${timeOf(answer.ms)})`;
}

const timeOf = (ms: number): string => `${Number(ms.toFixed(3))} ms`;

function textOf(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > textLengthMax ? `${text.slice(0, textLengthMax)}…` : text;
}
