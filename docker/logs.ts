/** The logs of many containers as one story: in the order of time, one line a record, readable. */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** Docker tells one container's past after the other's. A line waits so long for earlier ones of others. */
const settleMs = 500;
/** Lines that may wait; beyond it the earliest go on, and the order is only nearly right. */
const waitingMax = 200_000;

interface LogRecord {
  service: string;
  /** As Docker saw it, to the nanosecond, so that text sorts as time. */
  time: string;
  text: string;
}

/** Reads what `docker compose logs --timestamps --no-color` prints, and writes it in the order of time. Spans are left out: they are for programs. */
export async function mergeLogs(input: Readable, write: (line: string) => void): Promise<void> {
  let waiting: LogRecord[] = [];
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    for (const record of waiting.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))) write(format(record));
    waiting = [];
    timer = undefined;
  };
  for await (const line of createInterface({ input })) {
    const record = parse(line);
    if (record === undefined || record.text.startsWith('{"resourceSpans":')) continue;
    if (waiting.push(record) >= waitingMax) flush();
    // Restarting the wait with each line would never end it on a busy system; the past, though, comes without a pause.
    timer ??= setTimeout(flush, settleMs);
  }
  clearTimeout(timer);
  flush();
}

/** `service-1  | 2026-01-31T12:00:00.123456789Z text`, after a sequence that clears a terminal's line where there is none. */
function parse(line: string): LogRecord | undefined {
  const found = /^([^|]+?)\s*\| (\d{4}-\S+Z) ?(.*)$/.exec(line.replaceAll('\x1b[2K', ''));
  return found === null ? undefined : { service: found[1]!, time: found[2]!, text: found[3]! };
}

/** Of pino by number, of RabbitMQ by name; what is usual is not named. */
const levels: Readonly<Record<string, string>> = { 40: 'WARN ', 50: 'ERROR ', 60: 'FATAL ', warning: 'WARN ', error: 'ERROR ' };

function format({ service, time, text }: LogRecord): string {
  const start = `${time.slice(11, 23)} ${service.padEnd(22)}`;
  const record = jsonObject(text);
  if (record === undefined) return `${start} ${text}`.trimEnd();
  const { level, msg } = record;
  const fields = Object.entries(record).filter(([key]) => !['time', 'level', 'msg', 'name'].includes(key));
  const rest = fields.map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return `${start} ${levels[String(level)] ?? ''}${[String(msg), ...rest].join(' ')}`;
}

function jsonObject(text: string): Record<string, unknown> | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
