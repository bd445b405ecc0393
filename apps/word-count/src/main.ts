/** The programs: a counter (a container runs it), the reader, and the demo, which is all of it in one process. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectRabbitmq } from '@lab/middleware';
import * as lab from '@lab/process';
import { z } from 'zod';
import { demo, topWords } from './demo.ts';
import { Counter } from './roles/counter.ts';
import { countWords } from './roles/reader.ts';

const { rabbitmqUrl, roleSettings } = lab;
const sample = join(import.meta.dirname, '../data/sample.txt');
const file = z.string().default(sample).describe('text to count, in UTF-8');
const patience = lab.duration({ min: 1_000 }).prefault('10m').describe('how long to wait for the answer');
const stdout = (text: string): void => void process.stdout.write(text);

const counter = lab.command({
  summary: 'counts words; start several, and one works while the others stand by',
  settings: z.object({ rabbitmqUrl, ...roleSettings }),
  run: ({ rabbitmqUrl: url, ...settings }) =>
    lab.runRole({ name: 'counter', ...settings }, async ({ log, open }) => {
      const broker = await open(connectRabbitmq({ url, log }));
      return new Counter({ broker, log });
    }),
});

const reader = lab.command({
  summary: 'sends a file to the counters and shows the ten words that come most often',
  settings: z.object({ rabbitmqUrl, file, patience }),
  async run({ rabbitmqUrl: url, file, patience }) {
    const lines = readLines(file);
    const broker = await connectRabbitmq({ url, log: lab.makeLogger({ name: 'reader', level: 'warn' }) });
    // Of the content, so that whoever runs it again asks for the same job.
    const job = createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16);
    const late = (): Error =>
      new lab.ExitError(`no answer within ${patience / 1000} s: is a counter running?`, lab.exitCodes.unavailable);
    try {
      stdout(topWords(await lab.inTime(lab.systemClock, patience, countWords({ broker, job, lines, onSent }), late)));
    } finally {
      await broker.close();
    }
  },
});

const onSent = (sent: number, total: number): void => {
  if (sent === total || sent % 1_000 === 0) process.stderr.write(`sent ${sent} of ${total} batches\n`);
};

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch (cause) {
    throw new lab.ExitError(`the file cannot be read: ${(cause as Error).message}`, lab.exitCodes.usage, { cause });
  }
}

const demoCommand = lab.command({
  summary: 'the whole system in one process, with a crash in the middle',
  settings: z.object({ file }),
  run: ({ file }) => demo(readLines(file), stdout),
});

process.exitCode = await lab.runProgram({ demo: demoCommand, reader, counter }, process);
