import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyRecording, recordingOf } from '../test/made-run.ts';
import { fit, flowOf, place, type Box } from './layout.ts';
import { makeModel } from './model.ts';

const model = makeModel(
  recordingOf(
    'worker-2 starts',
    'worker-1 starts',
    'reader starts',
    'reader publish app.jobs: job 1',
    'worker-1 <- app.jobs: job 1',
    'reader <- app.answers: job 1',
    'worker-1 append app.answers: job 1',
    'worker-1 acks app.jobs: job 1',
    'worker-1 observe database: ',
  ),
);
const flow = flowOf(model);
const columns = flow.columns.map((column) => column.map((node) => flow.nodes[node]!.label));

describe('the flow of a recording', () => {
  it('goes from who asks through queues to who answers, whoever was up first', () => {
    expect(columns).toEqual([['reader'], ['jobs'], ['worker'], ['answers', 'database']]);
  });

  it('goes from a client to a server also where the server has spoken first', () => {
    const greeted = flowOf(makeModel(recordingOf('server send client-1: hello', 'client-1 send server: a question')));
    expect(greeted.columns.flat().map((node) => greeted.nodes[node]!.label)).toEqual(['client', 'server']);
  });

  it('has also what no event tells, and who serves stands for what callers name', () => {
    const told = recordingOf('lb-1 starts', 'db-1 starts', 'web-1 observe mariadb: ');
    const known = { flows: [['lb', 'web']] as const, serves: { mariadb: 'db' } };
    const flow = flowOf(makeModel({ ...told, live: { untilMs: 9, tells: 'some', depths: [], known } }));
    expect(flow.columns.map((column) => column.map((node) => flow.nodes[node]!.label))).toEqual([['lb'], ['web'], ['db']]);
  });

  it('goes back where an answer closes the circle', () => {
    const back = flow.edges
      .filter(({ isBack }) => isBack)
      .map(({ from, to }) => [flow.nodes[from]!.label, flow.nodes[to]!.label]);
    expect(back).toEqual([['answers', 'reader']]);
  });

  it('has all replicas of a role in one group, in the order of their numbers', () => {
    const { members } = flow.nodes.find(({ label }) => label === 'worker')!;
    expect(members.map((each) => model.instances[each]!.name)).toEqual(['worker-1', 'worker-2']);
    const twoNumbers = makeModel(
      recordingOf('solver-10-1 starts', 'solver-2-2 starts', 'solver-2-1 starts', 'solver-2-1.4 starts'),
    );
    const [group] = flowOf(twoNumbers).nodes;
    expect(group!.members.map((each) => twoNumbers.instances[each]!.name)).toEqual(['solver-2-1', 'solver-2-2', 'solver-10-1']);
  });

  it('has queues that are alike as one, and knows them by their last common word', () => {
    const shards = flowOf(
      makeModel(
        recordingOf(
          'f-1 publish app.s-1.shard-0: a',
          'f-2 publish app.s-2.shard-1: b',
          's-1 <- app.s-1.shard-0: a',
          's-2 <- app.s-2.shard-1: b',
          's-1 acks app.s-1.shard-0: a',
        ),
      ),
    );
    expect(shards.nodes.filter(({ kind }) => kind === 'queue').map(({ label, members }) => [label, members.length])).toEqual([
      ['shard', 2],
    ]);
  });

  it('says whose a queue is, where others are called the same', () => {
    const batches = flowOf(
      makeModel(
        recordingOf(
          ...['weather-1', 'trips-1', 'trips-2'].flatMap((topic) => [
            `reader publish app.filter-${topic}.batches: a`,
            `filter-${topic} <- app.filter-${topic}.batches: a`,
          ]),
          'reader publish app.others: a',
        ),
      ),
    );
    const queues = batches.nodes.filter(({ kind }) => kind === 'queue').map(({ owner, label }) => [owner, label]);
    expect(queues).toEqual([
      ['filter-weather-1', 'batches'],
      ['filter-trips', 'batches'],
      [undefined, 'others'],
    ]);
  });

  it('goes forward to later columns only, and every node is in one', () => {
    fc.assert(
      fc.property(anyRecording, (recording) => {
        const any = flowOf(makeModel(recording));
        const columnOf = (node: number): number => any.columns.findIndex((column) => column.includes(node));
        for (const { from, to, isBack } of any.edges) if (!isBack) expect(columnOf(to)).toBeGreaterThan(columnOf(from));
        expect(any.columns.flat().toSorted((a, b) => a - b)).toEqual(any.nodes.map((_, at) => at));
      }),
      { numRuns: 60 },
    );
  });
});

type Point = readonly [x: number, y: number];

/** Points along a path: of one curve, or of lines, whose corners are taken for sharp. */
function pointsOn(path: string): Point[] {
  const numbers = path.match(/-?[\d.]+/g)!.map(Number);
  const points = Array.from({ length: numbers.length / 2 }, (_, at): Point => [numbers[2 * at]!, numbers[2 * at + 1]!]);
  const shares = Array.from({ length: 201 }, (_, at) => at / 200);
  const between = ([x1, y1]: Point, [x2, y2]: Point, share: number): Point => [x1 + (x2 - x1) * share, y1 + (y2 - y1) * share];
  /** De Casteljau's way. */
  const onCurve = (all: readonly Point[], share: number): Point =>
    all.length === 1
      ? all[0]!
      : onCurve(
          all.slice(1).map((point, at) => between(all[at]!, point, share)),
          share,
        );
  if (path.includes('C')) return shares.map((share) => onCurve(points, share));
  return points.slice(1).flatMap((point, at) => shares.map((share) => between(points[at]!, point, share)));
}

describe('the map', () => {
  /** The largest system: 40 instances in six roles. */
  const large = makeModel(
    recordingOf(
      ...[1, 2, 3, 4].flatMap((first) => [1, 2, 3, 4, 5].map((second) => `filter-${first}-${second} starts`)),
      ...Array.from({ length: 16 }, (_, at) => `solver-${at + 1} starts`),
      ...['client', 'entry', 'broker', 'listener'].map((role) => `${role} starts`),
      ...['client entry', 'entry broker', 'broker filter-1-1', 'filter-1-1 listener', 'listener solver-1'].flatMap((pair, at) => {
        const [from, to] = pair.split(' ');
        return [`${from} publish queue-${'abcde'[at]}: m`, `${to} <- queue-${'abcde'[at]}: m`];
      }),
    ),
  );

  it.each([
    ['wide', { width: 1_020, height: 380 }, false],
    ['on a telephone', { width: 380, height: 0 }, true],
  ])('%s has every instance once, and no two boxes over each other', (_, size, isDown) => {
    const { boxes, cells, width } = place(flowOf(large), large.instances, size, isDown);
    expect(
      cells
        .flat()
        .map(({ instance }) => instance)
        .toSorted((a, b) => a - b),
    ).toEqual(large.instances.map((__, at) => at));
    expect(width).toBeLessThanOrEqual(size.width);
    const all = [...cells.flat(), ...boxes.filter((__, at) => cells[at]!.length === 0)];
    const overlaps = all.flatMap((a, at) =>
      all.slice(at + 1).filter((b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height),
    );
    expect(overlaps).toEqual([]);
  });

  const low = [
    ...Array.from({ length: 12 }, (_, at) => `middle-${at + 1} starts`),
    ...['0 low publish x: n', '1 middle-1 <- x: n', '2 middle-1 publish y: o', '3 last <- y: o'],
    ...['4 low publish z: p', '5 last <- z: p', '6 last publish answers: q', '7 low <- answers: q'],
  ];
  const tall = [
    'tall-1 starts',
    'tall-2 starts',
    'tall-3 starts',
    'tall-4 starts',
    '0 tall-1 publish x: m',
    '0 middle-1 <- x: m',
  ];
  it.each([
    ['below', low],
    ['beside', [...tall, ...low]],
  ])('on a telephone has no edge over a box that it passes: %s', (_, lines) => {
    const passed = makeModel(recordingOf(...lines));
    const { edges, nodes } = flowOf(passed);
    const { cells, paths } = place(flowOf(passed), passed.instances, { width: 380, height: 0 }, true);
    const names = edges.map(({ from, to, isBack }) => `${nodes[from]!.label} ${nodes[to]!.label}${isBack ? ' back' : ''}`);
    expect(names).toEqual(expect.arrayContaining(['low z', 'answers low back']));
    const over = paths.flatMap((path, edge) => {
      const { from, to } = edges[edge]!;
      const others = cells.flatMap((own, node) => (node === from || node === to ? [] : own));
      const isHit = ({ x, y, width, height }: Box): boolean =>
        pointsOn(path).some(([atX, atY]) => atX >= x && atX <= x + width && atY >= y && atY <= y + height);
      return others.filter(isHit).map(({ instance }) => `${names[edge]} over ${passed.instances[instance]!.name}`);
    });
    expect(over).toEqual([]);
  });

  it('names a log without the half of a UUID that tells it from others', () => {
    const logs = makeModel(recordingOf('a publish group.images.1a2b3c4d-5edf-2: m', 'b <- group.images.1a2b3c4d-5edf-2: m'));
    expect(flowOf(logs).nodes.map(({ label }) => label)).toContain('images');
  });

  it('keeps the long names at its edges inside', () => {
    const long = makeModel(recordingOf('the-nodes-manager publish due: m', 'w <- due: m', 'w publish the-outcomes-of-all: n'));
    const placed = place(flowOf(long), long.instances, { width: 400, height: 300 }, false);
    for (const { x, width } of placed.boxes) {
      expect(x).toBeGreaterThanOrEqual(14);
      expect(x + width).toBeLessThanOrEqual(placed.width - 14);
    }
  });

  it('is an empty one of a run in which nothing has happened yet', () => {
    const nothing = makeModel(recordingOf());
    for (const isDown of [false, true]) {
      const { width, height } = fit(flowOf(nothing), [], { width: 1_020, height: 380 }, isDown);
      expect([width, height].every((each) => each > 0 && each < 2_000)).toBe(true);
    }
  });

  it('has aside whom nothing is known to reach, a few over each other', () => {
    const alone = makeModel(
      recordingOf('a publish jobs: m', 'b <- jobs: m', ...Array.from({ length: 6 }, (_, at) => `engine${'uvwxyz'[at]} starts`)),
    );
    const { columns, nodes } = flowOf(alone);
    const labels = columns.map((column) => column.map((node) => nodes[node]!.label));
    expect(labels.slice(0, 3)).toEqual([['a'], ['jobs'], ['b']]);
    expect(labels.slice(3).map(({ length }) => length)).toEqual([4, 2]);
  });

  it('is larger where there is room', () => {
    expect(fit(flow, model.instances, { width: 1_020, height: 380 }, false).width).toBeLessThan(700);
  });
});
