/** The menus as people use them, against a running system. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runMenu } from '../src/client/menu.ts';
import { administrator } from './consortium-in-process.ts';
import { oneSystemForAll, postgresForAll, system } from './scene.ts';
import { keys, Screen } from './screen.ts';

let folder: string;
let screen: Screen;
let interrupted: AbortController;
let menu: Promise<void>;
let names = 0;

postgresForAll();
oneSystemForAll({ agents: 1, nodes: 2 });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'menu-'));
  open();
});
afterEach(async () => {
  interrupted.abort();
  await menu;
  await rm(folder, { recursive: true });
});

function open(): void {
  screen = new Screen({ isTTY: true });
  interrupted = new AbortController();
  const settings = { agents: system.agentAddresses, patience: 60_000, sessions: join(folder, 'sessions'), json: false };
  menu = runMenu(screen, settings, interrupted.signal);
}

/** Chooses an entry of a list by moving down to it. */
async function choose(title: string, entry: string): Promise<void> {
  await screen.shows(`${title}\n`);
  for (let at = 0; at < 30; at++) {
    const [, marked = ''] = /^❯ (.*)$/m.exec(screen.lastOf(title)) ?? [];
    if (marked.startsWith(entry)) return screen.type(keys.enter);
    const length = screen.shown.length;
    screen.type(keys.down);
    await screen.grows(length);
  }
  throw new Error(`there is no "${entry}" in ${screen.lastOf(title)}`);
}

/** Registers a new user, who is logged in then. */
async function register(): Promise<string> {
  const name = `ana-${++names}`;
  await choose('News consortium', 'Register');
  await screen.answer('Name:', name);
  await screen.answer('Password:', 'correct horse');
  await screen.answer('Once more:', 'correct horse');
  return name;
}

async function logIn(name: string, password: string): Promise<void> {
  await choose('News consortium', 'Log in');
  await screen.answer('Name:', name);
  await screen.answer('Password:', password);
}

async function addArea(): Promise<string> {
  const area = `area-${++names}`;
  await logIn(administrator.name, administrator.password);
  const title = `Administrator menu of ${administrator.name}`;
  await choose(title, 'Add an area');
  await screen.answer('Area:', area);
  await screen.answer('How many nodes', '2');
  await screen.shows(`added ${area}, for 2 nodes`);
  await choose(title, 'Log out');
  await screen.shows('logged out');
  return area;
}

describe('the menu', () => {
  it('lets a user subscribe, post, read and delete', async () => {
    const area = await addArea();
    const title = `User menu of ${await register()}`;
    await choose(title, 'My areas');
    await screen.shows('subscribed to no area');
    await choose(title, 'Subscribe');
    await choose('Subscribe to', area);
    await screen.shows(`subscribed to ${area}`);
    await choose(title, 'Post');
    await choose('Post to', `${area}, 0 unread`);
    await screen.answer('Text:', 'It rains');
    await screen.shows(`${area}/1\n`);
    await choose(title, 'Read what is unread');
    await choose('Read', `${area}, 1 unread`);
    await screen.shows('It rains\n');
    await choose(title, 'Read what is unread');
    await choose('Read', `${area}, 0 unread`);
    await screen.shows(`nothing unread in ${area}`);
    await choose(title, 'Edit an item');
    await choose('In which area', area);
    await choose('Edit', `${area}/1`);
    await screen.answer('Text:', 'It snows');
    await screen.shows(`edited ${area}/1\n`);
    await choose(title, 'Delete an item');
    await choose('In which area', area);
    await choose('Delete', `${area}/1`);
    await screen.answer('Delete it for everyone?', 'y');
    await screen.shows(`deleted ${area}/1`);
    await choose(title, 'Read the newest');
    await choose('Read', area);
    await screen.shows(`no news in ${area}`);
    await choose(title, 'Unsubscribe');
    await choose('Unsubscribe from', 'Back');
    await choose(title, 'Leave');
    await menu;
  });

  it('changes a password, and goes on where the two differ or the old one is wrong', async () => {
    const name = await register();
    const title = `User menu of ${name}`;
    const change = async (old: string, fresh: string, again = fresh): Promise<void> => {
      await choose(title, 'Change my password');
      await screen.answer('Password until now:', old);
      await screen.answer('New password:', fresh);
      await screen.answer('Once more:', again);
    };
    await change('correct horse', 'battery staple', 'battery stable');
    await screen.shows('the two passwords differ');
    await change('wrong horse', 'battery staple');
    await screen.shows('(wrong-password)');
    await change('correct horse', 'battery staple');
    await screen.shows('changed; your other sessions are closed');
    await choose(title, 'Log out');
    await logIn(name, 'battery staple');
    await choose(title, 'Log out');
    await screen.shows('logged out');
  });

  it('lets an administrator see to areas and users', async () => {
    const area = await addArea();
    await register();
    await choose(`User menu of ana-${names}`, 'Log out');
    await logIn(administrator.name, administrator.password);
    const title = `Administrator menu of ${administrator.name}`;
    await choose(title, 'Set the nodes');
    await choose('Set the nodes of', `${area}, for 2 nodes`);
    await screen.answer('How many nodes', '1');
    await screen.shows(`${area} is for 1 node\n`);
    await choose(title, 'Promote');
    await screen.answer('User:', `ana-${names}`);
    await screen.shows(`ana-${names} is an administrator`);
    await choose(title, 'Status');
    await screen.shows('agent-1 decides');
    await choose(title, 'Remove an area');
    await choose('Remove', area);
    await screen.answer('for good?', 'y');
    await screen.shows(`removed ${area}, with 0 items and 0 subscriptions`);
    await choose(title, 'Leave');
    await menu;
  });

  it('shows what is posted while it watches, until Enter', async () => {
    const area = await addArea();
    const title = `User menu of ${await register()}`;
    await choose(title, 'Subscribe');
    await choose('Subscribe to', area);
    const client = system.client();
    const { token } = await client.ask('login', { name: `ana-${names}`, password: 'correct horse', key: randomUUID() });
    await choose(title, 'Watch');
    await screen.shows('Enter ends it');
    // When the watch has begun, only the node knows: one of these comes behind it.
    let posted = 0;
    await eventually(async () => {
      await client.ask('post', { token, area, key: `watched-${++posted}`, text: `watched ${posted}` });
      return screen.shown.includes('  watched ');
    });
    screen.type(keys.enter);
    await choose(title, 'Leave');
    await menu;
  });

  it('shows a refusal and goes on', async () => {
    await logIn('nobody', 'no password');
    await screen.shows('no user has the name nobody and this password (wrong-password)');
    await choose('News consortium', 'Leave');
    await menu;
  });

  it('goes on with the session that is kept, and with the guests’ menu when that is over', async () => {
    const name = await register();
    await choose(`User menu of ${name}`, 'Leave');
    await menu;
    open();
    await system.query('UPDATE sessions SET closed_at = now() FROM users u WHERE u.id = user_id AND u.name = $1', [name]);
    await choose(`User menu of ${name}`, 'All areas');
    await screen.shows('log in again (unauthenticated)');
    await choose('News consortium', 'Leave');
    await menu;
  });

  it.each([
    ['Ctrl-C', () => screen.type(keys.interrupt)],
    ['Ctrl-D', () => screen.type(keys.end)],
    ['the end of the terminal', () => screen.stdin.end()],
    ['a signal', () => interrupted.abort()],
  ])('is left in good order with %s', async (_, leave) => {
    await screen.shows('News consortium');
    leave();
    await menu;
  });

  it.each([
    ['Ctrl-C', keys.interrupt],
    ['Ctrl-D', keys.end],
  ])('comes again after %s at a question', async (_, key) => {
    await choose('News consortium', 'Log in');
    await screen.shows('Name:');
    screen.type(key);
    await choose('News consortium', 'Leave');
    await menu;
  });

  it('takes nothing that was typed before it was shown', async () => {
    await choose('News consortium', 'Log in');
    await screen.answer('Name:', 'nobody');
    await screen.shows('Password:');
    screen.type(`wrong horse${keys.enter}`);
    screen.type(`${keys.up}${keys.enter}`);
    await screen.shows('(wrong-password)');
    await choose('News consortium', 'Leave');
    await menu;
  });

  it('names the commands where there is no terminal', async () => {
    const settings = { patience: 1_000, sessions: join(folder, 'sessions'), json: false };
    const pipes = new Screen({ isTTY: false });
    await expect(runMenu(pipes, settings, interrupted.signal)).rejects.toThrow('"client --help" lists');
  });
});
