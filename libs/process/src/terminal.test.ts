import { PassThrough } from 'node:stream';
import { FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { bytesText, startBar, tableText } from './terminal.ts';

describe('a table', () => {
  it('has a frame, no colours, and its numbers to the right', () => {
    const rows = [
      ['Lisbon', 7, '12.5', '1'],
      ['Oslo', 1_234, '9.0', 'none'],
    ];
    expect(tableText(['city', 'trips', 'average', 'days'], rows)).toBe(
      [
        '┌────────┬───────┬─────────┬──────┐',
        '│ city   │ trips │ average │ days │',
        '├────────┼───────┼─────────┼──────┤',
        '│ Lisbon │     7 │    12.5 │ 1    │',
        '│ Oslo   │  1234 │     9.0 │ none │',
        '└────────┴───────┴─────────┴──────┘',
      ].join('\n'),
    );
  });

  it('without rows is its head', () => {
    expect(tableText(['city'], []).split('\n')[1]).toBe('│ city │');
  });
});

describe('a bar', () => {
  function written(stream: PassThrough): string {
    return String((stream.read() as Buffer | null) ?? '');
  }

  it('is a line every five seconds where there is no terminal', () => {
    const clock = new FakeClock();
    const stream = Object.assign(new PassThrough(), { isTTY: false });
    const bar = startBar('verifying', 2_048, { stream, clock });
    for (let step = 1; step <= 12; step++) {
      clock.advance(1_000);
      bar.to(step * 512, 10_240);
    }
    bar.stop();
    expect(written(stream)).toBe('verifying: 2.50 KiB of 10.0 KiB\nverifying: 5.00 KiB of 10.0 KiB\n');
  });

  it('is drawn on a terminal, and stays there when the work is done', () => {
    const stream = Object.assign(new PassThrough(), { isTTY: true, cursorTo: () => true, clearLine: () => true, columns: 120 });
    const bar = startBar('verifying', 0, { stream });
    bar.to(1_024, 2_048);
    bar.stop();
    const text = written(stream);
    expect(text).toMatch(/verifying \[=+-+\] 50 % \| 1\.00 KiB of 2\.00 KiB \| .* left/);
    // A hidden cursor would stay hidden where Ctrl-C ends the process.
    expect(text).not.toContain('\u001b[?');
  });
});

describe('a number of bytes', () => {
  it.each([
    [0, '0 B'],
    [1_023, '1023 B'],
    [1_024, '1.00 KiB'],
    [10_240, '10.0 KiB'],
    [1_048_575, '1024 KiB'],
    [1_048_576, '1.00 MiB'],
    [1_100 * 1_024, '1.07 MiB'],
    [2 ** 31, '2.00 GiB'],
    [2 ** 50, '1024 TiB'],
  ])('of %i is shown as %s', (bytes, text) => expect(bytesText(bytes)).toBe(text));
});
