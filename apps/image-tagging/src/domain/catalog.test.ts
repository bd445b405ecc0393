import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Catalog, type CatalogEvent, type MemberName, type Picture, type Upload } from './catalog.ts';

const member = (id: string): MemberName => ({ id, name: `svc-${id}` });
const a = member('a');

const upload = (id: string, changes: Partial<Upload> = {}): Upload => ({
  id,
  fileName: `${id}.jpg`,
  bytes: 100,
  sha256: '0'.repeat(64),
  keywords: ['lake'],
  mediaType: 'image/jpeg',
  width: 4,
  height: 3,
  uploadedMs: 0,
  ...changes,
});
const tagged = { name: 'tagged-1.jpg', bytes: 120, sha256: '1'.repeat(64) };
const uploaded = (id: string, changes: Partial<Upload> = {}): CatalogEvent => ({
  type: 'picture-uploaded',
  upload: upload(id, changes),
});

function catalogOf(...events: readonly CatalogEvent[]): Catalog {
  const catalog = new Catalog();
  for (const event of events) catalog.apply(event, a);
  return catalog;
}

describe('pictures', () => {
  it('are new once, then known; another upload with the id is a conflict, and changes nothing', () => {
    const catalog = new Catalog();
    expect(catalog.apply(uploaded('x'), a)).toBe('new');
    expect(catalog.apply(uploaded('x'), a)).toBe('known');
    expect(catalog.apply(uploaded('x', { keywords: ['other'] }), a)).toBe('conflict');
    expect(catalog.apply(uploaded('x', { sha256: '2'.repeat(64) }), a)).toBe('conflict');
    expect(catalog.apply(uploaded('x', { bytes: 101 }), a)).toBe('conflict');
    expect(catalog.picture('x')).toEqual({ ...upload('x'), state: 'pending' });
  });

  it('are the same upload under another file name, at another time', () => {
    expect(catalogOf(uploaded('x')).apply(uploaded('x', { fileName: 'y', uploadedMs: 9 }), a)).toBe('known');
  });

  it('are pending until the first result, which no later one changes', () => {
    const catalog = catalogOf(uploaded('x'), uploaded('y'));
    expect(catalog.pending).toEqual(['x', 'y']);
    catalog.apply({ type: 'picture-tagged', id: 'x', tagged }, a);
    catalog.apply({ type: 'picture-failed', id: 'x', reason: 'late' }, a);
    catalog.apply({ type: 'picture-failed', id: 'y', reason: 'damaged' }, a);
    catalog.apply({ type: 'picture-tagged', id: 'y', tagged }, a);
    expect(catalog.picture('x')).toMatchObject({ state: 'tagged', tagged });
    expect(catalog.picture('x')).not.toHaveProperty('reason');
    expect(catalog.picture('y')).toMatchObject({ state: 'failed', reason: 'damaged' });
    expect(catalog.pending).toEqual([]);
    expect(catalog.apply(uploaded('x'), a)).toBe('known');
    expect(catalog.picture('x')!.state).toBe('tagged');
  });

  it('that nobody uploaded get no result', () => {
    const catalog = catalogOf({ type: 'picture-tagged', id: 'x', tagged });
    expect(catalog.picture('x')).toBeUndefined();
    expect(catalog.pictureCount).toBe(0);
  });

  it('are found by all of their keywords, in any case of letters and either form of accents', () => {
    const catalog = catalogOf(uploaded('x', { keywords: ['Größe', 'café'] }), uploaded('y', { keywords: ['größe'] }));
    const found = (...keywords: string[]) => catalog.list(keywords, 10).pictures.map(({ id }) => id);
    expect(found('GRÖSSE')).toEqual([]);
    expect(found('GRÖßE').toSorted()).toEqual(['x', 'y']);
    expect(found('größe', 'cafe\u0301')).toEqual(['x']);
    expect(found('größe', 'nowhere')).toEqual([]);
    expect(found('constructor')).toEqual([]);
  });
});

describe('a list', () => {
  const pictures = fc.uniqueArray(fc.record({ number: fc.nat(60), uploadedMs: fc.nat(5), lake: fc.boolean() }), {
    selector: ({ number }) => number,
    maxLength: 40,
  });

  it('has every picture with the keyword on one page, newest first, however large the pages are', () => {
    fc.assert(
      fc.property(pictures, fc.integer({ min: 1, max: 9 }), fc.boolean(), (all, limit, filtered) => {
        const catalog = catalogOf(
          ...all.map(({ number, uploadedMs, lake }) =>
            uploaded(`p${number}`, { uploadedMs, keywords: lake ? ['lake', 'x'] : ['x'] }),
          ),
        );
        const seen: Picture[] = [];
        for (let page = catalog.list(filtered ? ['Lake'] : [], limit); ;) {
          expect(page.pictures.length).toBeLessThanOrEqual(limit);
          seen.push(...page.pictures);
          if (!page.more) break;
          page = catalog.list(filtered ? ['Lake'] : [], limit, page.pictures.at(-1)!.id);
        }
        const wanted = all.filter(({ lake }) => lake || !filtered).map(({ number }) => `p${number}`);
        expect(seen.map(({ id }) => id).toSorted()).toEqual(wanted.toSorted());
        const times = seen.map(({ uploadedMs }) => uploadedMs);
        expect(times).toEqual(times.toSorted((one, other) => other - one));
      }),
    );
  });
});

describe('servers', () => {
  it('have an address and clients when they have told, and are gone with the view that has them no more', () => {
    const catalog = new Catalog();
    const b = member('b');
    catalog.apply({ type: 'clients-counted', count: 2 }, b);
    catalog.apply({ type: 'server-started', address: 'a:1' }, a);
    catalog.apply({ type: 'clients-counted', count: 3 }, a);
    catalog.apply({ type: 'server-started', address: 'b:1' }, b);
    expect(catalog.servers()).toEqual([
      { ...b, address: 'b:1', activeClients: 2 },
      { ...a, address: 'a:1', activeClients: 3 },
    ]);
    catalog.viewChanged([a, member('c')]);
    expect(catalog.servers().map(({ id }) => id)).toEqual(['a']);
    catalog.viewChanged([]);
    expect(catalog.servers()).toEqual([]);
  });
});

describe('a catalog', () => {
  const id = fc.constantFrom('p', 'q', 'r');
  const event: fc.Arbitrary<CatalogEvent> = fc.oneof(
    fc.record({ type: fc.constant('server-started' as const), address: fc.constantFrom('h:1', 'h:2') }),
    fc.record({ type: fc.constant('clients-counted' as const), count: fc.nat(3) }),
    fc.record({ id, keyword: fc.constantFrom('lake', 'Hill') }).map(({ id, keyword }) => uploaded(id, { keywords: [keyword] })),
    id.map((id) => ({ type: 'picture-tagged' as const, id, tagged })),
    id.map((id) => ({ type: 'picture-failed' as const, id, reason: 'damaged' })),
    fc.constant({ type: 'asked' as const }),
  );
  const story = fc.array(fc.record({ event, sender: fc.constantFrom('a', 'b').map(member) }), { maxLength: 30 });
  const lists = (catalog: Catalog) => ['lake', 'hill'].map((keyword) => catalog.list([keyword], 10));

  it('that was restored from a snapshot is the one that made it, then and after all that follows', () => {
    fc.assert(
      fc.property(story, story, (before, after) => {
        const [one, other] = [new Catalog(), new Catalog()];
        for (const { event, sender } of before) one.apply(event, sender);
        other.apply(uploaded('gone'), a);
        other.restore(JSON.parse(JSON.stringify(one.snapshot())) as ReturnType<Catalog['snapshot']>);
        for (const { event, sender } of after) expect(other.apply(event, sender)).toBe(one.apply(event, sender));
        expect(other.snapshot()).toEqual(one.snapshot());
        expect(lists(other)).toEqual(lists(one));
        expect(other.pending).toEqual(one.pending);
      }),
    );
  });

  it('is the same when an event is told twice', () => {
    fc.assert(
      fc.property(story, (events) => {
        const [once, twice] = [new Catalog(), new Catalog()];
        for (const { event, sender } of events) {
          once.apply(event, sender);
          twice.apply(event, sender);
          twice.apply(event, sender);
        }
        expect(twice.snapshot()).toEqual(once.snapshot());
      }),
    );
  });

  it('is empty again when it is restored from nothing', () => {
    const catalog = catalogOf(uploaded('x'));
    catalog.restore(undefined);
    expect(catalog.snapshot()).toEqual({ pictures: [], servers: [] });
    expect(catalog.list(['lake'], 1).pictures).toEqual([]);
  });
});
