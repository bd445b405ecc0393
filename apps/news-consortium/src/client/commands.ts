/** The client's commands. Results go to stdout, for people or one JSON object; what is going on, and what went wrong, goes to stderr. */
import type { EventEmitter } from 'node:events';
import { command, commandGroup, duration, path, type Command } from '@lab/process';
import { z } from 'zod';
import { agentsSetting, nameSetting } from '../config.ts';
import { explained, openDesk, watchAs } from './desk.ts';
import {
  accountOperations,
  administratorOperations,
  areaOperations,
  newsOperations,
  type Operation,
  type Operations,
} from './operations.ts';
import { jsonLine, write, type Streams } from './terminal.ts';
import { changeText, itemText } from './texts.ts';

const clientSettings = {
  agents: agentsSetting.optional().describe('where agents are, any will do; default those of the last login, or 127.0.0.1:8000'),
  ca: path
    .optional()
    .describe('file with the certificate that agents and nodes show; default that of the last login, with its agents'),
  patience: duration({ min: 1_000, max: 3_600_000 }).prefault('30s').describe('how long to go on trying while nobody answers'),
  as: nameSetting.optional().describe('whose session, of those who logged in here; default that of the last login'),
  sessions: z.string().optional().describe('folder that keeps sessions; default ~/.lab-news-consortium'),
  json: z.boolean().default(false).describe('answer for programs'),
};
export type ClientConfig = z.infer<z.ZodObject<typeof clientSettings>>;

/** Flags only; the first setting is the operand. */
function flags<S extends z.ZodRawShape>(settings: S) {
  const [operand] = Object.keys(settings);
  return z.object({ ...settings, ...clientSettings }).meta({ environment: false, ...(operand !== undefined && { operand }) });
}

/** `interrupts` emits `SIGINT` when the user ends what would go on for ever. */
export function clientCommands(streams: Streams, interrupts: EventEmitter = process): Command {
  const all = (operations: Operations): Record<string, Command> =>
    Object.fromEntries(Object.entries(operations).map(([name, operation]) => [name, deskCommand(streams, operation)]));
  return commandGroup({
    summary: 'registers, logs in, subscribes, posts, reads and watches; administrators manage areas',
    commands: {
      ...all({ ...accountOperations, ...newsOperations }),
      ...watchCommands(streams, interrupts),
      ...all(administratorOperations),
      area: commandGroup({ summary: 'for administrators: add, set and remove areas', commands: all(areaOperations) }),
    },
  });
}

function deskCommand(streams: Streams, { summary, settings, run, ...options }: Operation): Command {
  return command({
    ...{ summary, settings: flags(settings) },
    run: (given) => {
      const client = given as unknown as ClientConfig;
      return explained(client.json, async () => run(await openDesk(streams, client, options), given));
    },
  });
}

function watchCommands(streams: Streams, interrupts: EventEmitter): Record<string, Command> {
  return {
    watch: command({
      summary: 'shows items as they are posted, edited and deleted, until Ctrl-C',
      settings: flags({ area: z.array(nameSetting).default([]).describe('areas; default all that you are subscribed to') }),
      run: (settings) =>
        explained(settings.json, () =>
          untilInterrupted(interrupts, (signal) => printWatched(streams, settings, settings.area, signal)),
        ),
    }),
    menu: command({
      summary: 'all of this in menus, at a terminal',
      settings: flags({}),
      run: (settings) =>
        explained(settings.json, () =>
          untilInterrupted(interrupts, async (signal) => (await import('./menu.ts')).runMenu(streams, settings, signal)),
        ),
    }),
  };
}

async function untilInterrupted(interrupts: EventEmitter, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  interrupts.once('SIGINT', interrupt);
  try {
    await run(interrupted.signal);
  } finally {
    interrupts.off('SIGINT', interrupt);
  }
}

async function printWatched(
  streams: Streams,
  settings: ClientConfig,
  areas: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const desk = await openDesk(streams, settings, { signal });
  await watchAs(desk, {
    areas,
    onBegin: (area) => void desk.say(`watching ${area}`),
    onItem: (area, item) => write(streams.stdout, settings.json ? jsonLine({ area, ...item }) : itemText(area, item)),
    onChange: (area, change) => write(streams.stdout, settings.json ? jsonLine({ area, ...change }) : changeText(area, change)),
    signal,
  });
}
