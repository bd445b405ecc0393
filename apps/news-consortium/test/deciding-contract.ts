/** What a deciding agent may rely on, of PostgreSQL and of what stands for it in the simulation. */
import { randomUUID } from 'node:crypto';
import { eventually } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DecidingPort } from '../src/store/deciding.ts';

/** A database in which nothing is, and which this test alone uses. */
export interface Place {
  connect(): Promise<DecidingPort>;
  /** Adds one that wants two nodes, or removes it. */
  addArea(name: string): Promise<void>;
  removeArea(name: string): Promise<void>;
  addNode(id: string, address: string): Promise<void>;
}

export function decidingContract(of: string, open: () => Promise<Place>): void {
  describe(`the connection of an agent that decides, of ${of}`, () => {
    let place: Place;
    let [one, other]: DecidingPort[] = [];
    beforeEach(async () => {
      place = await open();
      [one, other] = [await place.connect(), await place.connect()];
    });
    afterEach(() => Promise.all([one!.close(), other!.close()]));

    const [first, second, change] = [randomUUID(), randomUUID(), { removedNodes: [], added: [], dropped: [] }];
    /** Both nodes, and what is assigned. */
    async function looked(): Promise<{ areas: string[]; nodes: string[]; assigned: string[] }> {
      const { areas, nodes, assignments } = await one!.situation();
      expect(areas.every(({ wanted }) => wanted === 2)).toBe(true);
      const assigned = assignments.map(({ area, node }) => `${area} ${node}`).toSorted();
      return { areas: areas.map(({ id }) => id), nodes: nodes.toSorted(), assigned };
    }
    async function prepare(): Promise<string> {
      await place.addArea('sports');
      await place.addNode(first, 'one:1');
      await place.addNode(second, 'two:1');
      const { areas, nodes, assigned } = await looked();
      expect([nodes, assigned]).toEqual([[first, second].toSorted(), []]);
      return areas[0]!;
    }

    it('has the lock alone, until it ends', async () => {
      expect(await one!.take('agent-1')).toBe(true);
      expect(await other!.take('agent-2')).toBe(false);
      await one!.close();
      await expect(one!.beat()).rejects.toThrow();
      await eventually(() => other!.take('agent-2'));
    });

    it('is ended by another one if its beat is still that which was seen', async () => {
      expect(await other!.evict(await other!.seenBeat())).toBe(false);
      await one!.take('agent-1');
      const seen = await other!.seenBeat();
      await one!.beat();
      expect(await other!.evict(seen)).toBe(false);
      await one!.beat();
      expect(await other!.evict(await other!.seenBeat())).toBe(true);
      await eventually(() => other!.take('agent-2'));
      await expect(one!.beat()).rejects.toThrow();
    });

    it('knows areas and nodes, and writes what serves what', async () => {
      const area = await prepare();
      await one!.take('agent-1');
      expect((await one!.beat()).toSorted((a, b) => (a.address < b.address ? -1 : 1))).toEqual([
        { id: first, name: 'one:1', address: 'one:1', healthAddress: 'one:1' },
        { id: second, name: 'two:1', address: 'two:1', healthAddress: 'two:1' },
      ]);
      const added = [
        { area, node: first },
        { area, node: second },
      ];
      await one!.apply({ ...change, added });
      await one!.apply({ ...change, added });
      expect((await looked()).assigned).toEqual([`${area} ${first}`, `${area} ${second}`].toSorted());
      await one!.apply({ ...change, dropped: [added[0]!] });
      expect((await looked()).assigned).toEqual([`${area} ${second}`]);
      await one!.apply({ ...change, removedNodes: [second] });
      expect(await looked()).toEqual({ areas: [area], nodes: [first], assigned: [] });
    });

    it('passes over what is gone', async () => {
      const area = await prepare();
      await one!.take('agent-1');
      const gone = { area, node: randomUUID() };
      await one!.apply({ added: [gone, { area, node: first }], dropped: [gone], removedNodes: [randomUUID()] });
      expect((await looked()).assigned).toEqual([`${area} ${first}`]);
      await place.removeArea('sports');
      expect(await looked()).toMatchObject({ areas: [], assigned: [] });
      await one!.apply({ ...change, added: [{ area, node: second }] });
      expect((await looked()).assigned).toEqual([]);
    });
  });
}
