/** Clients that break the protocol, send what cannot be processed, or go away: an error for them, and nothing for the others. */
import { encodeTable, Texts } from '@lab/columns';
import type { FramedSocket } from '@lab/protocol';
import { FaultPlan, World, type Fault } from '@lab/simulation';
import { seededRandom } from '@lab/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { clientLimits, roleConfig, type SystemConfig } from '../src/config.ts';
import { defaultSettings, queries } from '../src/domain/queries.ts';
import { decode, encode, type Head } from '../src/messages.ts';
import { config, SimulatedRoles } from './simulated-system.ts';

/** What hangs ends by simulated time, however slow the machine; this is for what hangs without it. */
vi.setConfig({ testTimeout: 600_000 });

const session = (digit: number): string => `0000000${digit}-0000-4000-8000-000000000000`;
const text = (...lines: string[]): Uint8Array => Buffer.from(`${lines.join('\n')}\n`);

/** Two trips on a rainy day of Montreal; the other cities have nothing. */
const files = new Map<string, Uint8Array>([
  ['montreal/weather', text('date,prectot', '2016-07-02,31.5')],
  ['montreal/stations', text('code,name,latitude,longitude,yearid', '1,Here,45.5,-73.6,2016', '2,There,45.6,-73.6,2016')],
  [
    'montreal/trips',
    text(
      'start_date,start_station_code,end_date,end_station_code,duration_sec,is_member,yearid',
      '2016-07-01 10:00:00,1,2016-07-01 10:10:00,2,600.0,1,2016',
      '2016-07-01 11:00:00,1,2016-07-01 11:10:00,2,-5.0,1,2016',
    ),
  ],
]);
for (const city of ['toronto', 'washington']) {
  files.set(`${city}/weather`, text('date,prectot'));
  files.set(`${city}/stations`, text('code,name,latitude,longitude,yearid'));
  files.set(`${city}/trips`, text('start_date,start_station_code,end_date,end_station_code,duration_sec,is_member,yearid'));
}

let world: World;
let roles: SimulatedRoles;

/** A system in which nothing but these faults strikes. */
function start(faults: readonly Fault[] = [], changes?: Partial<SystemConfig>): void {
  const times = { faultsForMs: 60_000, settleMs: 1_000_000, liveness: 'Every client is answered' };
  world = new World({ plan: FaultPlan.replayed(faults), random: seededRandom(1), recording: true, ...times });
  roles = new SimulatedRoles(world, changes);
}
beforeEach(() => start());

/** A well-behaved client gets its answers, whatever the others did. */
async function expectOthersUnharmed(): Promise<void> {
  const { result } = await world.until(roles.ask('client-1', files, 10));
  expect(result).toMatchObject({
    rainyTrips: { averageSeconds: 300, trips: 2 },
    farStations: { stations: [{ name: 'There', trips: 2 }] },
  });
}

const weather = encodeTable({ day: Int32Array.of(17_000), rainMm: Float64Array.of(40) });
const batch = (number: number, topic: 'weather' | 'stations' | 'trips' = 'weather'): Head<'batch'> => ({
  kind: 'batch',
  topic,
  eof: 0,
  number,
  city: 'montreal',
  rows: 1,
});

const hello = (changes: Partial<Head<'hello'>>): Head<'hello'> => ({
  ...{ kind: 'hello', session: session(1), acknowledged: {}, settings: defaultSettings, progress: false },
  queries: queries.map(({ name }) => name),
  ...changes,
});

async function greet(id: string, entryPoint?: string): Promise<FramedSocket> {
  const socket = await world.until(roles.connect());
  await socket.send(encode(hello({ session: id, ...(entryPoint !== undefined && { entryPoint }) })));
  return socket;
}

/** Reads until the system refuses, and gives its reason, with "again: " before it where the client is to begin again. */
async function refusal(socket: FramedSocket): Promise<string> {
  return world.until(
    (async () => {
      for await (const frame of socket) {
        const { head } = decode(frame, 'welcome', 'acknowledged', 'alive', 'result', 'refused');
        if (head.kind === 'refused') return `${head.again ? 'again: ' : ''}${head.reason}`;
      }
      throw new Error('the connection ended without a word');
    })(),
  );
}

describe('a client that breaks the protocol is told how, and harms nobody', () => {
  const violations: [string, Buffer[], string][] = [
    [
      'sends trips before weather',
      [encode(batch(0, 'trips'), weather)],
      'trips came where weather was due: topics are sent one after the other, weather, stations, trips',
    ],
    [
      'leaves out a batch',
      [encode(batch(0), weather), encode(batch(2), weather)],
      'batch 2 of weather came where batch 1 was due',
    ],
    [
      'ends a topic with another count',
      [encode(batch(0), weather), encode({ kind: 'eof', topic: 'weather', eof: 1, batches: 2 })],
      'weather ends after 2 batches, but 1 came',
    ],
    ['mixes topics', [encode(batch(0), weather), encode(batch(0, 'stations'), weather)], 'stations came where weather was due'],
    ['sends rubbish', [Buffer.from('GET / HTTP/1.1\r\n\r\n')], 'a head of 1195725856 bytes; at most 4096 are allowed'],
    ['sends an empty frame', [Buffer.alloc(0)], 'a message of 0 bytes has no head'],
    [
      'sends JSON that is none of ours',
      [encode({ kind: 'answer', session: session(1), query: 1 })],
      'expected batch or eof or ping or accepted',
    ],
  ];
  it.each(violations)('one that %s', async (_, frames, reason) => {
    const socket = await greet(session(1));
    for (const frame of frames) await socket.send(frame);
    expect(await refusal(socket)).toContain(reason);
    await expectOthersUnharmed();
  });

  it('one that does not introduce itself', async () => {
    const socket = await world.until(roles.connect());
    await socket.send(encode(batch(0), weather));
    expect(await refusal(socket)).toContain('expected hello');
  });

  it('one whose session id is a path', async () => {
    const socket = await greet('../../etc/passwd');
    expect(await refusal(socket)).toContain('hello: ✖ Invalid UUID');
  });

  it('one that was opened for another number of trips-solvers, which may begin again', async () => {
    const socket = await world.until(roles.connect());
    await socket.send(encode(hello({ acknowledged: { weather: 1 }, shards: 7 })));
    expect(await refusal(socket)).toBe('again: the session was opened for 7 trips-solvers, now there are 2');
  });

  it.each([
    [
      'asks for another list of queries',
      { queries: ['rainyTrips'] },
      'the client asks for rainyTrips, and the system answers rainyTrips, ',
    ],
    ['has a setting that the system does not know', { settings: { ...defaultSettings, snow: 1 } }, 'Unrecognized key: "snow"'],
  ])('one that %s', async (_, changes, reason) => {
    const socket = await world.until(roles.connect());
    await socket.send(encode(hello(changes)));
    expect(await refusal(socket)).toContain(reason);
    await expectOthersUnharmed();
  });

  it('one that claims more batches than a session can have', async () => {
    const socket = await world.until(roles.connect());
    await socket.send(encode(hello({ acknowledged: { trips: 2_147_483_647 } })));
    expect(await refusal(socket)).toBe('a session cannot have had 2147483647 batches: 30000 are the most');
    await expectOthersUnharmed();
  });

  it('one too many', async () => {
    const sockets = await Promise.all(Array.from({ length: config.sessionsMax }, (_, index) => greet(session(index))));
    const socket = await greet('ffffffff-0000-4000-8000-000000000000');
    expect(await refusal(socket)).toBe('busy with 10 sessions, the most allowed (--sessions-max): try again later');
    for (const each of sockets) each.destroy();
  });
});

describe('a batch that cannot be processed ends its session with an error that names it', () => {
  const table = (columns: Parameters<typeof encodeTable>[0]): Uint8Array => encodeTable(columns);
  const poison: [string, Uint8Array, string][] = [
    ['is no table', Buffer.from('not a table'), 'batch 0 of weather (montreal, 1 rows) could not be processed'],
    ['lacks a column', table({ day: Int32Array.of(1) }), 'rainMm'],
    [
      'has columns of different lengths',
      table({ day: Int32Array.of(1, 2), rainMm: Float64Array.of(1) }),
      'column rainMm must have 2 rows, not 1',
    ],
    [
      'has texts for numbers',
      table({ day: Texts.from(['1']), rainMm: Float64Array.of(1) }),
      'column day must be whole numbers, not Texts',
    ],
  ];
  it.each(poison)('one that %s', async (_, body, reason) => {
    const socket = await greet(session(2));
    await socket.send(encode(batch(0), body));
    expect(await refusal(socket)).toContain(reason);
    await expectOthersUnharmed();
  });

  it('and says it again to a client that was away, whether the entry point was too or not', async () => {
    const socket = await greet(session(3));
    await socket.send(encode(batch(0), Buffer.from('not a table')));
    const reason = await refusal(socket);
    expect(await refusal(await greet(session(3)))).toBe(reason);
    world.life('entry-point')!.die(10);
    expect(await refusal(await greet(session(3)))).toBe(reason);
  });
});

describe('a client that goes away', () => {
  it('for less than the session timeout comes back to its session', async () => {
    const socket = await greet(session(4));
    await socket.send(encode(batch(0), weather));
    await world.until(welcomeOf(socket));
    socket.destroy();
    await pass(config.sessionTimeout / 2);
    const again = await greet(session(4));
    expect((await world.until(welcomeOf(again))).received).toEqual({ weather: 1 });
  });

  it.each([0, 1])(
    'for longer, as one whose clock stood still, is told to begin again, after %i deaths of the entry point',
    async (deaths) => {
      const socket = await greet(session(5));
      await socket.send(encode(batch(0), weather));
      const { entryPoint } = await world.until(welcomeOf(socket));
      socket.destroy();
      for (let death = 0; death < deaths; death++) world.life('entry-point')!.die(10);
      await pass(2 * config.sessionTimeout);
      expect(await refusal(await greet(session(5), entryPoint))).toBe(
        'again: nobody asked for the session for 60 s: it has to begin again',
      );
      await expectOthersUnharmed();
    },
  );

  it('for longer, is told so by an entry point that has begun meanwhile and hears what the roles let go of', async () => {
    const socket = await greet(session(5));
    await socket.send(encode(batch(0), weather));
    const { entryPoint } = await world.until(welcomeOf(socket));
    socket.destroy();
    await pass(0.9 * config.sessionTimeout);
    world.life('entry-point')!.die(10);
    await pass(0.5 * config.sessionTimeout);
    expect(await refusal(await greet(session(5), entryPoint))).toBe(
      'again: nobody asked for the session for 60 s: it has to begin again',
    );
    await expectOthersUnharmed();
  });

  it('comes back to its session where the entry point is a new one since', async () => {
    const socket = await greet(session(5));
    const { entryPoint } = await world.until(welcomeOf(socket));
    world.life('entry-point')!.die(10);
    const again = await world.until(welcomeOf(await greet(session(5), entryPoint)));
    expect(again.entryPoint).not.toBe(entryPoint);
  });
});

describe('a client that missed its welcome', () => {
  it('is served under the same id, though its session was given up meanwhile', async () => {
    const socket = await greet('10000001-0000-4000-8000-000000000000');
    await world.until(welcomeOf(socket));
    socket.destroy();
    await pass(2 * config.sessionTimeout);
    await expectOthersUnharmed();
    expect(world.clock.nowMs()).toBeLessThan(3 * config.sessionTimeout);
  });
});

describe('an entry point that RabbitMQ does not answer', () => {
  it('tells its clients to begin again when their sessions could not be renewed for the session timeout', async () => {
    start([{ key: 'entry-point.1 publish #2 bike-analytics.sessions/ connection lost', arg: 1.2 * config.sessionTimeout }]);
    const socket = await greet(session(6));
    await world.until(welcomeOf(socket));
    world.clock.every(10_000, () => void socket.send(encode({ kind: 'ping' })).catch(() => undefined));
    expect(await refusal(socket)).toBe('again: RabbitMQ was out of reach for 60 s: the session has to begin again');
    await expectOthersUnharmed();
  });
});

describe('an entry point whose clock stood still', () => {
  it('hears what the roles let go of meanwhile, and tells those clients to begin again', async () => {
    start([{ key: 'entry-point.1 publish #1 bike-analytics.broker-weather.batches sleeps', arg: 1.3 * config.sessionTimeout }]);
    const socket = await greet(session(6));
    await socket.send(encode(batch(0), weather));
    await world.until(welcomeOf(socket));
    await pass(1.2 * config.sessionTimeout);
    expect(await refusal(await greet(session(6)))).toBe(
      'again: a role had no news of it for 60 s: the session has to begin again',
    );
    expect(world.clock.nowMs()).toBeLessThan(2 * config.sessionTimeout);
    await expectOthersUnharmed();
  });
});

describe('a session that could not be renewed, whose client was away then', () => {
  it('is told to begin again when it comes back', async () => {
    start([{ key: 'entry-point.1 publish #2 bike-analytics.sessions/ connection lost', arg: 1.2 * config.sessionTimeout }]);
    const socket = await greet(session(6));
    await world.until(welcomeOf(socket));
    await pass(0.9 * config.sessionTimeout);
    socket.destroy();
    await pass(0.4 * config.sessionTimeout);
    expect(await refusal(await greet(session(6)))).toBe(
      'again: the session could not be renewed for 60 s: it has to begin again',
    );
    await expectOthersUnharmed();
  });
});

describe('a client whose batch has to wait', () => {
  it('hears why with each sign of life', async () => {
    start([{ key: 'broker-weather.1 delivery #1 bike-analytics.broker-weather.batches delivered late', arg: 20_000 }], {
      windowBytes: 1,
    });
    const socket = await greet(session(7));
    await socket.send(encode(batch(0), weather));
    await socket.send(encode(batch(1), weather));
    expect(await world.until(reasonToWait(socket))).toMatch(/^\d+ bytes of batches are under way, of 1$/);
  });

  it('hears what is missing when nothing has moved for half a session timeout', async () => {
    start([{ key: 'broker-weather.1 delivery #1 bike-analytics.broker-weather.batches delivered late', arg: 50_000 }]);
    const socket = await greet(session(7));
    await socket.send(encode(batch(0), weather));
    world.clock.every(10_000, () => void socket.send(encode({ kind: 'ping' })).catch(() => undefined));
    expect(await world.until(reasonToWait(socket))).toBe('nothing moves: batch 0 of weather has not passed filter-weather-1');
    expect(world.clock.nowMs()).toBeGreaterThanOrEqual(config.sessionTimeout / 2);
  });
});

describe('a client that sends nothing', () => {
  it('keeps its session as long as it says that it lives', async () => {
    const socket = await greet(session(7));
    await socket.send(encode(batch(0), weather));
    await world.until(welcomeOf(socket));
    world.clock.every(10_000, () => void socket.send(encode({ kind: 'ping' })).catch(() => undefined));
    await pass(6 * config.sessionTimeout);
    const again = await greet(session(7));
    expect((await world.until(welcomeOf(again))).received).toEqual({ weather: 1 });
  });
});

describe('a session timeout of ten minutes', () => {
  it('leaves the client a sign of life within its idle limit', async () => {
    start([], { sessionTimeout: 600_000 });
    const socket = await greet(session(7));
    await world.until(welcomeOf(socket));
    const frame = await world.until(socket[Symbol.asyncIterator]().next());
    expect(decode((frame as IteratorResult<Buffer, undefined>).value!, 'alive').head.kind).toBe('alive');
    expect(world.clock.nowMs()).toBeLessThan(clientLimits.idleTimeoutMs! / 2);
  });
});

describe('a session timeout', () => {
  it('outlives three times how long RabbitMQ takes to miss a role', () => {
    const parse = (seconds: number) => roleConfig.safeParse({ rabbitmqUrl: 'amqp://127.0.0.1', sessionTimeout: `${seconds}s` });
    expect(parse(30).success).toBe(true);
    expect(parse(29).error?.issues[0]?.path).toEqual(['sessionTimeout']);
  });
});

describe('a session that stands still while another waits for its batches', () => {
  it('begins again after five session timeouts, and the other goes on', async () => {
    start([], { batchesMax: 20 });
    const first = await greet(session(8));
    await first.send(encode(batch(0), weather));
    world.clock.every(10_000, () => void first.send(encode({ kind: 'ping' })).catch(() => undefined));
    const other = world.until(roles.ask('client-1', manyTrips(70), 10));
    expect(await refusal(first)).toMatch(
      /^again: nothing moved for \d+ s: no batch came, and others wait \(0 of 1 batches under way\): the session has to begin again$/,
    );
    expect(world.clock.nowMs()).toBeGreaterThan(5 * config.sessionTimeout);
    expect((await other).result).toMatchObject({ rainyTrips: { trips: 70 } });
  });
});

describe('a client that watches', () => {
  it('sees answers of a part of the trips while they are added up, and then the whole', async () => {
    start([{ key: 'broker-trips.1 delivery #3 bike-analytics.broker-trips.batches delivered late', arg: 5_000 }]);
    const soFar: number[] = [];
    const onAnswerSoFar = (query: number, answer: unknown): void => {
      if (query === 1) soFar.push((answer as { trips: number }).trips);
    };
    const { result } = await world.until(roles.ask('client-1', manyTrips(70), 10, undefined, { onAnswerSoFar }));
    expect(result).toMatchObject({ rainyTrips: { trips: 70 } });
    expect(soFar.length).toBeGreaterThan(0);
    for (const trips of soFar) expect(trips).toBeGreaterThan(0);
    expect(soFar[0]).toBeLessThan(70);
    await world.until(roles.empty());
  });
});

describe('a session that ends in a long outage', () => {
  it('is ended once', async () => {
    start([
      { key: 'entry-point.1 publish #1 bike-analytics.broker-weather.batches broker away', arg: 10 * config.sessionTimeout },
    ]);
    const socket = await greet(session(8));
    await world.until(welcomeOf(socket));
    await socket.send(encode(batch(0), weather));
    await socket.send(encode({ kind: 'eof', topic: 'weather', eof: 1, batches: 1 }));
    world.clock.every(10_000, () => void socket.send(encode({ kind: 'ping' })).catch(() => undefined));
    await pass(11 * config.sessionTimeout);
    const notices = world.events.filter((event) => event.type === 'call' && event.to === 'bike-analytics.sessions/');
    expect(notices.length).toBeLessThan(10);
    await expectOthersUnharmed();
  });
});

describe('a session whose messages are lost with a queue', () => {
  it('begins again after five session timeouts, and its client gets its answers', async () => {
    start([{ key: 'solver-1.1 delivery #1 bike-analytics.solver-1.partials queue deleted', arg: 0 }]);
    const { promise, resolve } = Promise.withResolvers<string>();
    const client = roles.ask('client-1', files, 10, undefined, { onWarning: ({ reason }) => resolve(reason) });
    expect(await world.until(promise)).toMatch(
      /nothing moved for \d+ s: no answer of query 1 \(0 of 3 batches under way\): the session has to begin again/,
    );
    expect(world.clock.nowMs()).toBeGreaterThan(5 * config.sessionTimeout);
    expect((await world.until(client)).result).toMatchObject({ rainyTrips: { averageSeconds: 300, trips: 2 } });
  });
});

describe('a session whose messages are lost with the disk of RabbitMQ', () => {
  it('begins again as soon as RabbitMQ is back, and its client gets its answers', async () => {
    start([{ key: 'solver-1.1 publish #1 bike-analytics.entry-point.answers broker loses disk', arg: 1_000 }]);
    const reasons: string[] = [];
    const client = roles.ask('client-1', files, 10, undefined, { onWarning: ({ reason }) => void reasons.push(reason) });
    expect((await world.until(client)).result).toMatchObject({ rainyTrips: { averageSeconds: 300, trips: 2 } });
    expect(reasons).toContain('RabbitMQ has lost what was sent: the session has to begin again');
    expect(world.clock.nowMs()).toBeLessThan(config.sessionTimeout);
  });
});

/** What the first sign of life says that gives a reason. */
async function reasonToWait(socket: FramedSocket): Promise<string | undefined> {
  for await (const frame of socket) {
    const { head } = decode(frame, 'welcome', 'alive');
    if (head.kind === 'alive' && head.waiting !== undefined) return head.waiting;
  }
  return undefined;
}

/** The same with so many trips, all on the rainy day. */
function manyTrips(count: number): typeof files {
  const header = 'start_date,start_station_code,end_date,end_station_code,duration_sec,is_member,yearid';
  const rows = Array.from({ length: count }, (_, index) => `2016-07-01 10:00:00,${index % 2},2016-07-01 10:10:00,2,600.0,1,2016`);
  return new Map([...files, ['montreal/trips', text(header, ...rows)] as const]);
}

/** Lets time pass, with all that happens in it. */
const pass = (ms: number): Promise<void> => world.until(new Promise((resolve) => void world.clock.after(ms, resolve)));

async function welcomeOf(socket: FramedSocket): Promise<Head<'welcome'>> {
  const first = (await socket[Symbol.asyncIterator]().next()) as IteratorResult<Buffer, undefined>;
  return decode(first.value!, 'welcome').head;
}

describe('replicas', () => {
  it('share the trips: with three trips-solvers of each query none has more than 1.5 times the mean', async () => {
    start([], { tripsSolvers: 3 });
    await world.until(roles.ask('client-1', manyTrips(900), 30));
    const sharesOf = (role: string): number[] =>
      [...roles.rows].flatMap(([name, share]) => (name.startsWith(role) ? [share] : []));
    const sum = (shares: number[]): number => shares.reduce((total, share) => total + share, 0);
    for (const query of [1, 2, 3, 4]) {
      const shares = sharesOf(`trips-solver-${query}`);
      expect(sum(shares)).toBe(900);
      expect(Math.max(...shares)).toBeLessThanOrEqual(1.5 * 300);
    }
    for (const role of ['entry-point', 'broker-trips', 'filter-trips-1', 'filter-trips-2', 'filter-trips-3', 'filter-trips-4'])
      expect(sum(sharesOf(role))).toBeGreaterThanOrEqual(900);
  });

  it.each(['solvers', 'eofListeners', 'eofTripsListeners', 'entryPoints'])('are refused for %s, with the reason', (setting) => {
    const parsed = roleConfig.safeParse({ [setting]: '2' });
    expect(parsed.error?.issues[0]?.message).toMatch(/^runs once: ./);
  });
});
