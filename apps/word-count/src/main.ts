/** The programs: a counter (a container runs it), the reader, and the demo, which is all of it in one process. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectRabbitmq } from '@lab/middleware';
import { traced } from '@lab/middleware/traced';
import * as lab from '@lab/process';
import { z } from 'zod';
import { demo, topWords } from './demo.ts';
import { describeMessage } from './messages.ts';
import { Counter } from './roles/counter.ts';
import { countWords } from './roles/reader.ts';

const { rabbitmqUrl, roleSettings } = lab;
const file = lab.path.default(join(import.meta.dirname, '../data/sample.txt')).describe('text to count, in UTF-8');
const patience = lab.duration({ min: 1_000 }).prefault('10m').describe('how long to wait for the answer');
const print = (text: string): void => void process.stdout.write(text);

const commands = {
  demo: lab.command({
    summary: 'the whole system in one process, with a crash in the middle',
    settings: z.object({ file, ...lab.demoSettings }),
    run: ({ file, watch }) => demo(readLines(file), print, watch),
  }),
  reader: lab.command({
    summary: 'sends a file to the counters and shows the ten words that come most often',
    settings: z.object({ rabbitmqUrl, file, patience }),
    run: runReader,
  }),
  counter: lab.command({
    summary: 'counts words; start several, and one works while the others stand by',
    settings: z.object({ rabbitmqUrl, ...roleSettings }),
    run: ({ rabbitmqUrl: url, ...settings }) =>
      lab.runRole({ name: 'counter', ...settings }, async ({ log, open, fail, tracer }) => {
        const broker = traced(await open(connectRabbitmq({ url, log })), tracer, describeMessage);
        broker.lost.catch(fail);
        return new Counter({ broker, log });
      }),
  }),
};

async function runReader(settings: { rabbitmqUrl: string; file: string; patience: number }): Promise<void> {
  const lines = readLines(settings.file);
  // Of the content, so that whoever runs it again asks for the same job.
  const job = createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16);
  const log = lab.makeLogger({ name: 'reader', level: 'warn' });
  const connectTimeoutMs = Math.min(settings.patience, 60_000);
  const broker = await connectRabbitmq({ url: settings.rabbitmqUrl, log, connectTimeoutMs });
  const onSent = (sent: number, total: number): void =>
    void (sent % 1_000 === 0 && process.stderr.write(`sent ${sent} of ${total} batches\n`));
  const late = (): Error => new lab.ExitError('no answer in time: is a counter running?', lab.exitCodes.unavailable);
  try {
    print(topWords(await lab.inTime(lab.systemClock, settings.patience, countWords({ broker, job, lines, onSent }), late)));
  } finally {
    await broker.close();
  }
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8')
      .replace(/\r?\n$/, '')
      .split(/\r?\n/);
  } catch (cause) {
    throw lab.pathError(cause, 'the file cannot be read: ');
  }
}

process.exitCode = await lab.runProgram(commands, process);
