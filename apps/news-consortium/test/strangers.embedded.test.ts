/** Crowds at a node's door, of those who say nothing, who say what nobody asked for, and who may be there: what they cost others. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/embedded-postgres';
import { splitAddress, systemClock } from '@lab/process';
import { encodeFrame } from '@lab/protocol';
import { eventually } from '@lab/testing';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import type { Consortium } from '../src/client/consortium.ts';
import { ask } from '../src/wire/asking.ts';
import { clientsDoor } from '../src/wire/serving.ts';
import { administrator, ConsortiumInProcess } from './consortium-in-process.ts';

// Thousands of sockets, in one process with all the rest.
vi.setConfig({ testTimeout: 120_000 });

const area = 'sports';
/** Who was turned away comes again after so long, or all would be busy with nothing else. */
const againMs = 200;
const crowdSize = clientsDoor.connectionsMax + 100;
let postgres: EmbeddedPostgres;
let system: ConsortiumInProcess;
let client: Consortium;
let token: string;
/** Addresses of this machine from which it can call itself: on Linux there are many. */
let sources: string[];
let crowd: Crowd | undefined;

beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
  system = await ConsortiumInProcess.start(postgres, { agents: 1, nodes: 2 });
  client = system.client();
  token = (await client.ask('login', { ...administrator, key: 'login' })).token;
  await client.ask('addArea', { token, area, nodes: 2, key: area });
  await client.ask('subscribe', { token, area, key: 'subscribe' });
  const { host } = splitAddress(system.listenAddressOf('node-1'));
  const many = Array.from({ length: 8 }, (_, index) => `127.0.0.${index + 11}`);
  sources = (await Promise.all(many.map(canBeHad))).every(Boolean) ? many : [host];
});

afterEach(() => crowd?.leave());

afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await postgres.stop();
});

async function canBeHad(host: string): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false)).listen(0, host, () => server.close(() => resolve(true)));
  });
}

/** Many connections to one node, past its proxy: whoever is turned away comes again. */
class Crowd {
  readonly #sources: readonly string[];
  readonly #says: Buffer | undefined;
  readonly #sockets = new Set<Socket>();
  readonly #target = splitAddress(system.listenAddressOf('node-1'));
  #came = 0;
  #isThere = true;
  /** How many have come to the door. */
  knocked = 0;
  /** How many were turned away, or sent off. */
  gone = 0;

  constructor(from: readonly string[], says?: object) {
    this.#sources = from;
    this.#says = says && encodeFrame(Buffer.from(JSON.stringify(says)));
    for (let count = 0; count < crowdSize; count++) this.#come();
  }

  leave(): void {
    this.#isThere = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  #come(): void {
    const socket = connect({ ...this.#target, localAddress: this.#sources[this.#came++ % this.#sources.length]! });
    this.#sockets.add(socket);
    socket
      .on('error', () => undefined)
      .on('connect', () => {
        this.knocked++;
        if (this.#says) socket.write(this.#says);
      });
    // Who has been answered stays.
    socket.resume().on('close', () => {
      this.gone++;
      this.#sockets.delete(socket);
      systemClock.after(againMs, () => this.#isThere && this.#come());
    });
  }
}

/** What the database has of the nodes: another time if one was removed and has come again. */
const nodes = (): Promise<object[]> => system.query('SELECT id, joined_at FROM nodes ORDER BY id');

/** Until agents have checked the nodes so often that a node which does not answer would be out. */
async function whileChecked(work: () => Promise<unknown>): Promise<void> {
  const beat = async (): Promise<number> => {
    const [row] = await system.query<{ beat: string }>('SELECT beat FROM deciding');
    return Number(row!.beat);
  };
  const last = (await beat()) + 15;
  while ((await beat()) < last) await work();
}

const areasAt = (node: string): Promise<object> => ask(system.addressOf(node), 'areas', { token }, { timeoutMs: 5_000 });

/** Each of them, at once. */
async function othersAreServed(): Promise<void> {
  for (let count = 0; count < 10; count++) expect(await areasAt('node-1')).toEqual({ areas: [{ area, subscribed: true }] });
}

it(`${crowdSize} silent connections of one address are a quarter of all at the most; others are served, and the node stays`, async () => {
  const before = await nodes();
  const one = (crowd = new Crowd(sources.slice(0, 1)));
  await eventually(() => one.gone >= crowdSize - clientsDoor.connectionsPerSourceMax);
  await whileChecked(othersAreServed);
  expect(await nodes()).toEqual(before);
});

it.each([
  ['say nothing', undefined],
  ['say what everybody may', { kind: 'health', deadlineMs: 1_000 }],
  ['have a token that is none', { kind: 'areas', deadlineMs: 1_000, token: 'forged' }],
])(`${crowdSize} connections of many addresses that %s make room for others, and the node stays`, async (_, says) => {
  const before = await nodes();
  const many = (crowd = new Crowd(sources, says));
  await eventually(() => many.knocked >= crowdSize && many.gone > 0, { intervalMs: 1 });
  await whileChecked(othersAreServed);
  expect(await nodes()).toEqual(before);
});

it('where those fill it who may be there, the node stays, and others go elsewhere', async () => {
  const before = await nodes();
  crowd = new Crowd(sources, { kind: 'areas', deadlineMs: 10_000, token });
  await eventually(async () => !(await areasAt('node-1').then(Boolean, () => false)), { timeoutMs: 60_000 });
  await whileChecked(() => client.ask('post', { token, area, key: 'crowded', text: 'It is crowded' }));
  expect(await nodes()).toEqual(before);
  crowd.leave();
  await eventually(() => areasAt('node-1').then(Boolean, () => false));
});

it('who says nothing is sent off before who has shown a token', async () => {
  const address = splitAddress(system.listenAddressOf('node-1'));
  const [member, silent] = [connect(address), connect(address)];
  member.write(encodeFrame(Buffer.from(JSON.stringify({ kind: 'areas', deadlineMs: 1_000, token }))));
  await once(member, 'data');
  await once(silent.resume(), 'close');
  expect(member.readyState).toBe('open');
  await once(member.resume(), 'close');
});
