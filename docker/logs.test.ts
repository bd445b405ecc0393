import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { mergeLogs } from './logs.ts';

async function merged(...lines: readonly string[]): Promise<string[]> {
  const written: string[] = [];
  await mergeLogs(Readable.from(lines.map((line) => `${line}\n`)), (line) => written.push(line));
  return written.map((line) => line.replace(/ +/g, ' '));
}

describe('merged logs', () => {
  it('stand in the order of time, whichever container is told first', async () => {
    const lines = [
      'solver-1  | 2026-01-31T12:00:02.000000001Z {"level":30,"msg":"later"}',
      'filter-1  | 2026-01-31T12:00:01.000000002Z {"level":30,"msg":"second"}',
      'filter-1  | 2026-01-31T12:00:01.000000001Z {"level":30,"msg":"first"}',
    ];
    expect(await merged(...lines)).toEqual([
      '12:00:01.000 filter-1 first',
      '12:00:01.000 filter-1 second',
      '12:00:02.000 solver-1 later',
    ]);
  });

  it('name what is wrong, and show the fields behind the words', async () => {
    const line = 'filter-1  | 2026-01-31T12:00:01.5Z {"level":40,"time":"x","name":"filter","msg":"slow","ms":12,"queue":"a.b"}';
    expect(await merged(line)).toEqual(['12:00:01.5Z filter-1 WARN slow ms=12 queue=a.b']);
  });

  it('show what is no record as it is', async () => {
    expect(await merged('rabbitmq-1  | 2026-01-31T12:00:01.000000000Z {not json |')).toEqual([
      '12:00:01.000 rabbitmq-1 {not json |',
    ]);
  });

  it('leave out spans, which roles tell as lines of OTLP', async () => {
    const span = 'filter-1  | 2026-01-31T12:00:01.000000000Z {"resourceSpans":[{"resource":{},"scopeSpans":[]}]}';
    expect(await merged(span, 'filter-1  | 2026-01-31T12:00:02.000000000Z {"level":30,"msg":"first"}')).toEqual([
      '12:00:02.000 filter-1 first',
    ]);
  });

  it('leave out what compose says of itself', async () => {
    expect(await merged('filter-1 exited with code 0', '')).toEqual([]);
  });
});
