/** Lists of areas, however many there are: asked for page by page. */
import type { Paged, Replies, Status } from '../messages.ts';
import type { Consortium } from './consortium.ts';

type Asked = Pick<Consortium, 'ask'>;
type MyArea = Replies['myAreas']['areas'][number];

/** Each page as it is when it is asked for; in the order of their names. */
export async function listAreas(consortium: Asked, token: string): Promise<Replies['areas']['areas']> {
  const pages = await allPages((after) => consortium.ask('areas', { token, after }));
  return pages.flatMap(({ areas }) => areas);
}

/** The areas that the user is subscribed to, in the order of their names. With a `countMax` of 0 nothing is counted, which costs little. */
export async function listMyAreas(consortium: Asked, token: string, countMax?: number): Promise<MyArea[]> {
  const pages = await allPages((after) => consortium.ask('myAreas', { token, after, countMax }));
  return pages.flatMap(({ areas }) => areas).toSorted((one, other) => (one.area < other.area ? -1 : 1));
}

/** With how many areas each node serves. */
export interface WholeStatus extends Status {
  readonly nodes: readonly (Status['nodes'][number] & { readonly areas: number })[];
}

/** All areas; nodes, and who decides, as they were when the last of them were asked for. */
export async function wholeStatus(consortium: Asked, token: string): Promise<WholeStatus> {
  const pages = await allPages((after) => consortium.ask('status', { token, after }));
  const { decides, nodes } = pages.at(-1)!;
  const areas = pages.flatMap((page) => page.areas);
  const serving = Map.groupBy(
    areas.flatMap((area) => area.nodes),
    (address) => address,
  );
  return { decides, nodes: nodes.map((node) => ({ ...node, areas: serving.get(node.address)?.length ?? 0 })), areas };
}

async function allPages<P extends Paged>(page: (after: string | undefined) => Promise<P>): Promise<P[]> {
  const pages = [await page(undefined)];
  for (let next = pages[0]!.next; next !== undefined; next = pages.at(-1)!.next) pages.push(await page(next));
  return pages;
}
