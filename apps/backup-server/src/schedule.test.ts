import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseSchedule } from './schedule.ts';

const second = 1000;

describe('a schedule', () => {
  it.each([
    ['30', 30 * second],
    ['30s', 30 * second],
    [' 5m ', 300 * second],
    ['1h', 3600 * second],
    ['1.5h', 5400 * second],
    ['1d', 86_400 * second],
    ['366d', 366 * 86_400 * second],
    ['1', second],
    ['1.5', 1500],
  ])('%j is every %d ms', (text, everyMs) => {
    expect(parseSchedule(text)(1_000_000)).toBe(1_000_000 + everyMs);
  });

  it('in cron’s words is the next time that fits, and never the same again', () => {
    const next = parseSchedule('*/10 * * * *');
    const at = Date.UTC(2030, 0, 1, 12, 3);
    expect(next(at)).toBe(Date.UTC(2030, 0, 1, 12, 10));
    expect(next(next(at))).toBe(Date.UTC(2030, 0, 1, 12, 20));
  });

  it('is always later than now', () => {
    const schedules = ['1', '5m', '* * * * *', '0 2 * * *', '0 0 29 2 *', '*/5 * * * * *', '@hourly', '0 12 * * MON'].map(
      parseSchedule,
    );
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(2020), max: Date.UTC(2040) }), (nowMs) => {
        for (const next of schedules) {
          expect(next(nowMs)).toBeGreaterThan(nowMs);
          expect(next(nowMs)).toBeLessThan(nowMs + 9 * 366 * 86_400 * second);
        }
      }),
      { numRuns: 50 },
    );
  });

  it.each([
    '',
    ' ',
    '0',
    '0s',
    '0.5',
    '-5',
    '5x',
    's',
    '1e3',
    '367d',
    '9'.repeat(400),
    'often',
    '* * *',
    '61 * * * *',
    '0 0 31 2 *',
    '5 m',
    '1h30m',
    'NaN',
    'Infinity',
    '0x10',
  ])('%j is none, and the error says what is', (text) => {
    expect(() => parseSchedule(text)).toThrow(RangeError);
    expect(() => parseSchedule(text)).toThrow(/^give seconds|^an interval is from|^this does not come again/);
  });

  it.each(['2099-01-01T00:00:00', '2099-01-01 00:00'])('%j is a time and no schedule', (text) => {
    expect(() => parseSchedule(text)).toThrow(RangeError);
  });
});
