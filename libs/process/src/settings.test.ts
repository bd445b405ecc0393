import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { address, duration, port, rabbitmqUrl, roleSettings, splitAddress, wholeNumber } from './settings.ts';

/** What it is read as, or what is wrong with it. */
const read = (schema: z.ZodType, value: unknown): unknown => {
  const { success, data, error } = schema.safeParse(value);
  return success ? data : error.issues.map(({ message }) => message).join('; ');
};

describe('a duration', () => {
  const upToADay = duration({ min: 500, max: 86_400_000 });

  it.each([
    ['1.5s', 1_500],
    ['1500ms', 1_500],
    ['2m', 120_000],
    ['12h', 43_200_000],
    ['1d', 86_400_000],
  ])('%s is %d ms', (text, ms) => expect(read(upToADay, text)).toBe(ms));

  it('names its range in words, and what it may look like', () => {
    expect(read(upToADay, '0s')).toBe('from 500ms to 1d');
    expect(read(upToADay, '25h')).toBe('from 500ms to 1d');
    expect(read(duration({ min: 90_000 }), '1m')).toBe('at least 90s');
    for (const text of ['', '60', '-1s', '-1', '1w', '1 s', 's'])
      expect(read(upToADay, text)).toContain('a time as 200ms, 10s, 2m, 12h or 7d');
  });
});

describe('an address', () => {
  it.each([
    ['localhost:80', { host: 'localhost', port: 80 }],
    ['127.0.0.1:65535', { host: '127.0.0.1', port: 65_535 }],
    ['[::1]:7400', { host: '::1', port: 7_400 }],
  ])('%s has a host and a port', (text, parts) => expect(splitAddress(read(address, text) as string)).toEqual(parts));

  it.each(['', 'localhost', ':80', '::1:80', 'a b:80', 'localhost:'])('%s is none', (text) =>
    expect(read(address, text)).toBe('HOST:PORT'),
  );

  it('has a port that exists', () => expect(read(address, 'a:65536')).toBe('HOST:PORT, with a port up to 65535'));
});

it('a whole number is one, in its range', () => {
  expect(read(wholeNumber(1, 9), '9')).toBe(9);
  for (const text of ['0', '10', '1.5', 'x', '']) expect(read(wholeNumber(1, 9), text)).toEqual(expect.any(String));
  expect(read(port, '65536')).toContain('65535');
});

it('what is not a URL of RabbitMQ is refused where it is read', () => {
  expect(read(rabbitmqUrl, undefined)).toMatch(/^amqp:/);
  expect(read(rabbitmqUrl, 'http://127.0.0.1')).toBe('amqp://USER:PASSWORD@HOST:PORT');
});

it('which spans are told is a word or a share', () => {
  const { labTrace } = roleSettings;
  for (const mode of ['off', 'faults', 'all', '1%', '0.5%', '100%', undefined]) expect(read(labTrace, mode)).toBe(mode);
  for (const text of ['on', '1', '101%', '%', 'all ']) expect(read(labTrace, text)).toBe('off, faults, all, or a share as 1%');
});
