/** What members do, each once: commands and menus ask for the settings, and run it. */
import { ConfigError, wholeNumber } from '@lab/process';
import { z } from 'zod';
import { nameSetting } from '../config.ts';
import { itemName, nameRule, parseItemName, typedName } from '../domain/names.ts';
import { nodesMax, pageItemsMax } from '../messages.ts';
import type { Desk, DeskOptions } from './desk.ts';
import type { Menu } from './menu.ts';
import { showUnread, takeUnread } from './reading.ts';
import { readPasswords, type Streams } from './terminal.ts';
import { areasText, counted, heldText, itemsText, myAreasText, removedText, statusText, timeText } from './texts.ts';

interface Parts<S extends z.ZodRawShape> extends DeskOptions {
  /** Half a line. */
  readonly summary: string;
  /** The first one is a command's operand. */
  readonly settings: S;
  /** Where menus have it, and what they ask to know the settings. */
  readonly menu?: Readonly<Record<string, (menu: Menu) => Settings<S> | Promise<Settings<S>>>>;
  readonly run: (desk: Desk, settings: Settings<S>) => Promise<void>;
}
type Settings<S extends z.ZodRawShape> = z.infer<z.ZodObject<S>>;

export type Operation = Parts<z.ZodRawShape>;
export type Operations = Readonly<Record<string, Operation>>;
const operation = <S extends z.ZodRawShape>(parts: Parts<S>): Operation => parts as unknown as Operation;
const nothing = (): Record<string, never> => ({});

const area = nameSetting.describe('of the area');
const password = z
  .string()
  .optional()
  .describe('others on this machine may see it; without it you are asked, or the first line of standard input is taken');
const onePassword = async (streams: Streams, twice: boolean): Promise<string> =>
  (await readPasswords(streams, [{ message: 'Password:', twice }]))[0]!;
const nodes = wholeNumber(1, nodesMax);
/** The words of a text, behind what it is for. */
const wordsBehind = <T extends object>(what: string, rule: string, read: (first: string) => T | undefined) =>
  z.array(z.string()).transform(([first = '', ...text], context) => {
    const found = read(first);
    if (found === undefined) context.addIssue({ code: 'custom', message: `first comes the ${what}: ${rule}` });
    else if (text.length === 0) context.addIssue({ code: 'custom', message: `behind the ${what} comes the text` });
    return found === undefined ? z.NEVER : { ...found, text: text.join(' ') };
  });
const areaOf = (text: string): { area: string } | undefined => {
  const area = typedName(text);
  return area === undefined ? undefined : { area };
};
const itemRule = 'an item is named as it is shown: sports/42';
const item = z.string().transform((text, context) => {
  const parsed = parseItemName(text);
  if (parsed === undefined) context.addIssue({ code: 'custom', message: itemRule });
  return parsed ?? z.NEVER;
});

export const accountOperations: Operations = {
  register: operation({
    summary: 'makes a user',
    settings: { name: nameSetting.describe('of the new user'), password },
    anybody: true,
    run: async ({ member, answer, streams }, { name, password }) => {
      const registered = await member.ask('register', {
        name,
        password: password ?? (await onePassword(streams, true)),
      });
      await answer(registered, `registered ${registered.name}; next: client login ${registered.name}\n`);
    },
  }),
  login: operation({
    summary: 'opens a session, which is kept for the commands that follow',
    settings: { name: nameSetting.describe('of the user'), password },
    anybody: true,
    run: async ({ member, answer, streams }, { name, password }) => {
      const session = await member.login(name, password ?? (await onePassword(streams, false)));
      const { name: opened, role, expiresAt } = session;
      await answer({ name: opened, role, expiresAt }, `${opened}, ${role}, until ${timeText(expiresAt)}\n`);
    },
  }),
  password: operation({
    summary: 'changes your password, and closes your other sessions; both are asked for, or lines of standard input',
    settings: {},
    menu: { 'Change my password': nothing },
    run: async ({ member, answer, streams }) => {
      const questions = [
        { message: 'Password until now:', twice: false },
        { message: 'New password:', twice: true },
      ];
      const [password = '', newPassword = ''] = await readPasswords(streams, questions);
      await member.ask('changePassword', { password, newPassword });
      await answer({ name: member.kept.name }, 'changed; your other sessions are closed\n');
    },
  }),
  logout: operation({
    summary: 'closes the session, for every node at once',
    settings: {},
    menu: { 'Log out': nothing },
    run: async ({ member, answer }) => {
      const { wasOver } = await member.logout();
      await answer({ wasOver }, wasOver ? 'the session was over already\n' : 'logged out\n');
    },
  }),
  whoami: operation({
    summary: 'whose session is kept here, and until when it is good',
    settings: {},
    run: async ({ member, answer }) => {
      const { name, role, expiresAt, agents } = member.kept;
      await answer({ name, role, expiresAt, agents }, `${name}, ${role}, until ${timeText(expiresAt)}\n`);
    },
  }),
};

export const newsOperations: Operations = {
  read: operation({
    summary: 'shows the news of an area, oldest first; all, the newest, or what is unread',
    settings: {
      area,
      unread: z
        .boolean()
        .default(false)
        .describe('only what is unread, with --json up to 1,000 items; it is marked as read when it was printed'),
      last: wholeNumber(1, Number.MAX_SAFE_INTEGER).optional().describe('only the newest so many'),
    },
    menu: {
      'Read what is unread': async (menu) => ({ area: await menu.mine('Read'), unread: true }),
      'Read the newest': async (menu) => ({ area: await menu.mine('Read'), unread: false, last: pageItemsMax }),
    },
    run: async (desk, { area, unread, last }) => {
      if (unread && last !== undefined) throw new ConfigError(['--unread shows all that is unread: leave out --last']);
      if (unread) return desk.json ? answerUnread(desk, area) : printUnread(desk, area);
      const items = await desk.member.read(area, last);
      await desk.answer({ area, items }, items.length === 0 ? `no news in ${area}\n` : itemsText(area, items));
    },
  }),
  post: operation({
    summary: 'posts an item to an area that you are subscribed to',
    settings: {
      words: wordsBehind('area', nameRule, areaOf).describe('the area, and the text: sports It rains'),
      key: z.string().optional().describe('posts of one user with one key are one; default made by chance'),
    },
    menu: {
      Post: async (menu) => ({ words: { area: await menu.mine('Post to'), text: await menu.text() } }),
    },
    run: async ({ member, answer }, { words, key }) => {
      const posted = await member.ask('post', { ...words, key });
      await answer(posted, `${itemName(posted)}\n`);
    },
  }),
  edit: operation({
    summary: 'gives an item of yours another text, for everyone; who has read it does not get it again',
    settings: {
      words: wordsBehind('item', itemRule, parseItemName).describe('the item, and its text from now on: sports/42 It snows'),
    },
    menu: {
      'Edit an item of mine': async (menu) => {
        const { area, number } = await menu.myItem('Edit');
        return { words: { area, number, text: await menu.text() } };
      },
    },
    run: async ({ member, answer }, { words }) => {
      const edited = await member.ask('edit', words);
      await answer(edited, `edited ${itemName(edited)}\n`);
    },
  }),
  delete: operation({
    summary: 'deletes an item of yours, for everyone',
    settings: { item: item.describe('as it is shown: sports/42') },
    menu: {
      'Delete an item of mine': async (menu) => {
        const item = await menu.myItem('Delete');
        await menu.confirm('Delete it for everyone?');
        return { item };
      },
    },
    run: async ({ member, answer }, { item }) => {
      const deleted = await member.ask('delete', item);
      await answer(deleted, `deleted ${itemName(deleted)}\n`);
    },
  }),
  'my-areas': operation({
    summary: 'lists the areas that you are subscribed to, and how much is unread',
    settings: {},
    menu: { 'My areas': nothing },
    run: async ({ member, answer }) => {
      const found = { areas: await member.myAreas() };
      await answer(found, myAreasText(found));
    },
  }),
  areas: operation({
    summary: 'lists all areas',
    settings: {},
    menu: { 'All areas': nothing },
    run: async ({ member, answer }) => {
      const found = { areas: await member.areas() };
      await answer(found, areasText(found));
    },
  }),
  subscribe: operation({
    summary: 'begins to read an area: what is posted from now on is unread',
    settings: { area },
    menu: { Subscribe: async (menu) => ({ area: await menu.another('Subscribe to') }) },
    run: async ({ member, answer }, { area }) => {
      const done = await member.ask('subscribe', { area });
      await answer(done, done.changed ? `subscribed to ${area}\n` : `was subscribed to ${area} already\n`);
    },
  }),
  unsubscribe: operation({
    summary: 'ends that; what was unread is forgotten',
    settings: { area },
    menu: {
      Unsubscribe: async (menu) => {
        const area = await menu.mine('Unsubscribe from');
        await menu.confirm('What is unread is forgotten. Unsubscribe?');
        return { area };
      },
    },
    run: async ({ member, answer }, { area }) => {
      const done = await member.ask('unsubscribe', { area });
      await answer(done, done.changed ? `unsubscribed from ${area}\n` : `was not subscribed to ${area}\n`);
    },
  }),
};

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

export const administratorOperations: Operations = {
  promote: operation({
    summary: 'for administrators: makes a user an administrator',
    settings: { name: nameSetting.describe('of the user who becomes an administrator') },
    menu: { 'Promote a user': async (menu) => ({ name: await menu.name('User') }) },
    run: async ({ member, answer }, { name }) => answer(await member.ask('promote', { name }), `${name} is an administrator\n`),
  }),
  demote: operation({
    summary: 'for administrators: makes an administrator a user again',
    settings: { name: nameSetting.describe('of the administrator who becomes a user') },
    menu: { 'Make an administrator a user': async (menu) => ({ name: await menu.name('Administrator') }) },
    run: async ({ member, answer }, { name }) => answer(await member.ask('demote', { name }), `${name} is a user\n`),
  }),
  status: operation({
    summary: 'shows nodes and areas, who serves what, and which agent decides',
    settings: {},
    menu: { Status: nothing },
    run: async ({ member, answer }) => {
      const status = await member.status();
      await answer(status, statusText(status));
    },
  }),
};

export const areaOperations: Operations = {
  add: operation({
    summary: 'adds an area',
    settings: { name: area, nodes: nodes.default(1).describe('how many nodes serve it') },
    menu: { 'Add an area': async (menu) => ({ name: await menu.name('Area'), nodes: await menu.nodes() }) },
    run: async ({ member, answer }, { name, nodes }) =>
      answer(await member.ask('addArea', { area: name, nodes }), `added ${name}, for ${counted(nodes, 'node')}\n`),
  }),
  set: operation({
    summary: 'sets how many nodes serve an area',
    settings: { name: area, nodes: nodes.describe('how many nodes serve it') },
    menu: {
      'Set the nodes of an area': async (menu) => ({ name: await menu.any('Set the nodes of'), nodes: await menu.nodes() }),
    },
    run: async ({ member, answer }, { name, nodes }) =>
      answer(await member.ask('setArea', { area: name, nodes }), `${name} is for ${counted(nodes, 'node')}\n`),
  }),
  remove: operation({
    summary: 'removes an area with its news and its subscriptions, for good',
    settings: { name: area },
    menu: {
      'Remove an area': async (menu) => {
        const name = await menu.any('Remove');
        await menu.confirm(`Remove ${name} with its news and subscriptions, for good?`);
        return { name };
      },
    },
    run: async ({ member, answer }, { name }) => {
      const removed = await member.ask('removeArea', { area: name });
      await answer(removed, `removed ${name}, with ${removedText(removed)}\n`);
    },
  }),
};
