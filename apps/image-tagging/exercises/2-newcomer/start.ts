/** A member that has seen all events, and one that came later: change it, so that a catalog is seen that does not give a newcomer everything. */
import { expect, it } from 'vitest';
import { Catalog, type CatalogEvent, type MemberName } from '../../src/domain/catalog.ts';

const sender: MemberName = { id: '7', name: 'svc-1' };
const upload = {
  ...{ id: 'abcdefghijklmnopqr27', fileName: 'lake.jpg', bytes: 100, sha256: '0'.repeat(64), keywords: ['lake'] },
  ...{ mediaType: 'image/jpeg', width: 4, height: 3, uploadedMs: 5 },
};

/** Both, after this history. */
function members(...events: readonly CatalogEvent[]): { old: Catalog; newcomer: Catalog } {
  const [old, newcomer] = [new Catalog(), new Catalog()];
  for (const event of events) old.apply(event, sender);
  newcomer.restore(old.snapshot());
  return { old, newcomer };
}

it('a newcomer knows what the others know', () => {
  const { old, newcomer } = members({ type: 'picture-uploaded', upload });
  expect(newcomer.pending).toEqual(old.pending);
  expect(newcomer.list(['lake'], 10)).toEqual(old.list(['lake'], 10));
});
