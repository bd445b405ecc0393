/** The client's commands. Results go to stdout, for people or one JSON object; what is going on, and what went wrong, goes to stderr. */
import type { EventEmitter } from 'node:events';
import { command, commandGroup, ConfigError, type Command } from '@lab/process';
import type { z } from 'zod';
import { clientConfigs, type ClientConfig } from '../config.ts';
import { itemName } from '../domain/names.ts';
import { explained, openDesk, watchAs, type Desk, type DeskOptions } from './desk.ts';
import { showUnread, takeUnread } from './reading.ts';
import { jsonLine, readPassword, write, type Streams } from './terminal.ts';
import { areasText, counted, heldText, itemsText, itemText, myAreasText, statusText, timeText } from './texts.ts';

/** `interrupts` emits `SIGINT` when the user ends what would go on for ever. */
export function clientCommands(streams: Streams, interrupts: EventEmitter = process): Command {
  return commandGroup({
    summary: 'registers, logs in, subscribes, posts, reads and watches; administrators manage areas',
    commands: {
      ...accountCommands(streams),
      ...newsCommands(streams),
      ...watchCommands(streams, interrupts),
      ...administratorCommands(streams),
    },
  });
}

type Settings = z.ZodObject & z.ZodType<ClientConfig>;

/** Makes a command that is answered at a desk. */
function deskCommand<S extends Settings>(
  streams: Streams,
  parts: { summary: string; settings: S; run: (desk: Desk, settings: z.infer<S>) => Promise<void> } & DeskOptions,
): Command {
  const { summary, settings, run, ...options } = parts;
  return command({
    ...{ summary, settings },
    run: (given) => explained(given.json, async () => run(await openDesk(streams, given, options), given)),
  });
}

function accountCommands(streams: Streams): Record<string, Command> {
  return {
    register: deskCommand(streams, {
      summary: 'makes a user',
      settings: clientConfigs.register,
      anybody: true,
      run: async ({ member, answer }, { name, password }) => {
        const registered = await member.register(name, password ?? (await readPassword(streams, { twice: true })));
        await answer(registered, `registered ${name}; next: client login ${name}\n`);
      },
    }),
    login: deskCommand(streams, {
      summary: 'opens a session, which is kept for the commands that follow',
      settings: clientConfigs.login,
      anybody: true,
      run: async ({ member, answer }, { name, password }) => {
        const { role, expiresAt } = await member.login(name, password ?? (await readPassword(streams, { twice: false })));
        await answer({ name, role, expiresAt }, `${name}, ${role}, until ${timeText(expiresAt)}\n`);
      },
    }),
    logout: deskCommand(streams, {
      summary: 'closes the session, for every node at once',
      settings: clientConfigs.plain,
      run: async ({ member, answer }) => {
        const { wasOver } = await member.logout();
        await answer({ wasOver }, wasOver ? 'the session was over already\n' : 'logged out\n');
      },
    }),
    whoami: deskCommand(streams, {
      summary: 'whose session is kept here, and until when it is good',
      settings: clientConfigs.plain,
      run: async ({ member, answer }) => {
        const { name, role, expiresAt, agents } = member.kept;
        await answer({ name, role, expiresAt, agents }, `${name}, ${role}, until ${timeText(expiresAt)}\n`);
      },
    }),
  };
}

function newsCommands(streams: Streams): Record<string, Command> {
  return {
    areas: deskCommand(streams, {
      summary: 'lists all areas',
      settings: clientConfigs.plain,
      run: async ({ member, answer }) => {
        const found = await member.areas();
        await answer(found, areasText(found));
      },
    }),
    'my-areas': deskCommand(streams, {
      summary: 'lists the areas that you are subscribed to, and how much is unread',
      settings: clientConfigs.plain,
      run: async ({ member, answer }) => {
        const found = await member.myAreas();
        await answer(found, myAreasText(found));
      },
    }),
    subscribe: deskCommand(streams, {
      summary: 'begins to read an area: what is posted from now on is unread',
      settings: clientConfigs.area,
      run: async ({ member, answer }, { area }) => {
        const done = await member.subscribe(area);
        await answer(done, done.changed ? `subscribed to ${area}\n` : `was subscribed to ${area} already\n`);
      },
    }),
    unsubscribe: deskCommand(streams, {
      summary: 'ends that; what was unread is forgotten',
      settings: clientConfigs.area,
      run: async ({ member, answer }, { area }) => {
        const done = await member.unsubscribe(area);
        await answer(done, done.changed ? `unsubscribed from ${area}\n` : `was not subscribed to ${area}\n`);
      },
    }),
    post: deskCommand(streams, {
      summary: 'posts an item to an area that you are subscribed to',
      settings: clientConfigs.post,
      run: async ({ member, answer }, { words: { area, text }, key }) => {
        const posted = await member.post(area, text, key);
        await answer(posted, `${itemName(posted)}\n`);
      },
    }),
    delete: deskCommand(streams, {
      summary: 'deletes an item of yours, for everyone',
      settings: clientConfigs.delete,
      run: async ({ member, answer }, { item: { area, number } }) => {
        const deleted = await member.delete(area, number);
        await answer(deleted, `deleted ${itemName(deleted)}\n`);
      },
    }),
    read: deskCommand(streams, {
      summary: 'shows the news of an area, oldest first; all, the newest, or what is unread',
      settings: clientConfigs.read,
      run: async (desk, { area, unread, last, json }) => {
        if (unread && last !== undefined) throw new ConfigError(['--unread shows all that is unread: leave out --last']);
        if (unread) return json ? answerUnread(desk, area) : printUnread(desk, area);
        const items = await desk.member.read(area, last);
        await desk.answer({ area, items }, items.length === 0 ? `no news in ${area}\n` : itemsText(area, items));
      },
    }),
  };
}

async function answerUnread({ member, answer }: Desk, area: string): Promise<void> {
  const { items, held, heldMs } = await takeUnread(member, area);
  await answer({ area, items, held, heldMs }, '');
  await member.mark(area, items);
}

async function printUnread({ member, answer, say }: Desk, area: string): Promise<void> {
  const { count, ...held } = await showUnread(member, area, (items) => answer({ area, items }, itemsText(area, items)));
  if (count === 0) await answer({}, `nothing unread in ${area}\n`);
  const more = heldText(held);
  if (more !== undefined) await say(more);
}

function watchCommands(streams: Streams, interrupts: EventEmitter): Record<string, Command> {
  return {
    watch: command({
      summary: 'shows items as they are posted, until Ctrl-C',
      settings: clientConfigs.watch,
      run: (settings) =>
        explained(settings.json, () => untilInterrupted(interrupts, (signal) => printWatched(streams, settings, signal))),
    }),
    menu: command({
      summary: 'all of this in menus, at a terminal',
      settings: clientConfigs.plain,
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

async function printWatched(streams: Streams, settings: z.infer<typeof clientConfigs.watch>, signal: AbortSignal): Promise<void> {
  const { member, say } = await openDesk(streams, settings, { signal });
  await watchAs(member, {
    areas: settings.area,
    onBegin: (area) => void say(`watching ${area}`),
    onItem: (area, item) => write(streams.stdout, settings.json ? jsonLine({ area, ...item }) : itemText(area, item)),
    signal,
  });
}

function administratorCommands(streams: Streams): Record<string, Command> {
  return {
    status: deskCommand(streams, {
      summary: 'shows nodes and areas, who serves what, and which agent decides',
      settings: clientConfigs.plain,
      anybody: true,
      run: async ({ member, answer }) => {
        const status = await member.status();
        await answer(status, statusText(status));
      },
    }),
    area: commandGroup({ summary: 'for administrators: add, set and remove areas', commands: areaCommands(streams) }),
    promote: deskCommand(streams, {
      summary: 'for administrators: makes a user an administrator',
      settings: clientConfigs.promote,
      run: async ({ member, answer }, { name }) => answer(await member.promote(name), `${name} is an administrator\n`),
    }),
  };
}

function areaCommands(streams: Streams): Record<string, Command> {
  return {
    add: deskCommand(streams, {
      summary: 'adds an area',
      settings: clientConfigs.areaAdd,
      run: async ({ member, answer }, { name, nodes }) =>
        answer(await member.addArea(name, nodes), `added ${name}, for ${counted(nodes, 'node')}\n`),
    }),
    set: deskCommand(streams, {
      summary: 'sets how many nodes serve an area',
      settings: clientConfigs.areaSet,
      run: async ({ member, answer }, { name, nodes }) =>
        answer(await member.setArea(name, nodes), `${name} is for ${counted(nodes, 'node')}\n`),
    }),
    remove: deskCommand(streams, {
      summary: 'removes an area with its news and its subscriptions, for good',
      settings: clientConfigs.areaRemove,
      run: async ({ member, answer }, { name }) => {
        const { news, subscriptions, ...removed } = await member.removeArea(name);
        const text = `removed ${name}, with ${counted(news, 'item')} and ${counted(subscriptions, 'subscription')}\n`;
        await answer({ ...removed, news, subscriptions }, text);
      },
    }),
  };
}
