import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readTraceparent, traceparentOf } from './index.ts';

const hex = (length: number) =>
  fc
    .string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })
    .filter((text) => !/^0+$/.test(text));

it('reads what it writes', () => {
  const contexts = fc.record({ traceId: hex(32), spanId: hex(16), traceFlags: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(
      contexts,
      (context) => void expect(readTraceparent(traceparentOf(context))).toEqual({ ...context, isRemote: true }),
    ),
  );
});

const [trace, span] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];

it.each([
  ['of a later version, which may say more', `cc-${trace}-${span}-01-what`],
  ['of a later version that says no more', `cc-${trace}-${span}-01`],
])('reads one %s', (_, text) => {
  expect(readTraceparent(text)).toEqual({ traceId: trace, spanId: span, traceFlags: 1, isRemote: true });
});

it.each([
  ['nothing', undefined],
  ['a number', 7],
  ['no text of its form', `${trace}-${span}-01`],
  ['large letters', `00-${trace.toUpperCase()}-${span}-01`],
  ['a trace of zeros', `00-${'0'.repeat(32)}-${span}-01`],
  ['a span of zeros', `00-${trace}-${'0'.repeat(16)}-01`],
  ['the version that there is not', `ff-${trace}-${span}-01`],
  ['more than its version has', `00-${trace}-${span}-01-what`],
  ['flags that go on', `cc-${trace}-${span}-011`],
])('takes %s for none', (_, text) => {
  expect(readTraceparent(text)).toBeUndefined();
});
