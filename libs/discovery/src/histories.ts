/** What processes do at once to one record, and for one role, and what they see of it: `@lab/checker` judges it. */
import { History, type Call, type LockInput, type Model, type Operation } from '@lab/checker';
import { systemClock } from '@lab/process/time';
import type { Discovery, Leadership, RecordState } from './port.ts';

/** What befalls the processes. */
export interface Fates {
  connect(): Promise<Discovery>;
  cut(discovery: Discovery): void;
  heal(discovery: Discovery): void;
  crash(discovery: Discovery): Promise<void>;
  /** As awaiting it, but time passes where it is the test's own. */
  settle<Value>(promise: Promise<Value>): Promise<Value>;
}

export type RecordInput =
  { readonly op: 'read' } | { readonly op: 'write'; readonly text: string; readonly version: number | null };
/** Of a read the state, of a write the new version; `null` where there is none. */
export type RecordOutput = RecordState | number | null;
/** Of a write without an answer the version is not known: it is above `version`. */
type ModelState = (RecordState & { readonly isExact: boolean }) | null;

export const recordModel: Model<ModelState, RecordInput, RecordOutput> = {
  initial: null,
  step(state, { input, answer }) {
    const output = answer?.output ?? null;
    if (input.op === 'read') {
      if (answer === undefined) return state;
      if (typeof output !== 'object' || output === null || state === null) return output === state ? state : undefined;
      return output.text === state.text && isAt(state, output.version) ? { ...output, isExact: true } : undefined;
    }
    const before = input.version ?? -1;
    if (!isAt(state, input.version)) return output === null ? state : undefined;
    if (answer === undefined) return { text: input.text, version: before, isExact: false };
    if (output === null) return state?.isExact === false ? state : undefined;
    return typeof output === 'number' && output > before ? { text: input.text, version: output, isExact: true } : undefined;
  },
};

/** Whether the record can be at this version; `null` is that of none. */
function isAt(state: ModelState, version: number | null): boolean {
  if (state === null || version === null) return state === version;
  return state.isExact ? version === state.version : version > state.version;
}

/** Four processes read and write at once; one of them is cut off amid a write, and comes back. */
export async function recordHistory(name: string, fates: Fates): Promise<Operation<RecordInput, RecordOutput>[]> {
  const history = new History<RecordInput, RecordOutput>(systemClock);
  const processes = await Promise.all(Array.from({ length: 4 }, () => fates.connect()));
  const [first, ...others] = processes as [Discovery, ...Discovery[]];
  const nobodyKnows = (): boolean => false;
  let texts = 0;
  const use = async (discovery: Discovery, rounds: number): Promise<void> => {
    const client = `process ${processes.indexOf(discovery)}`;
    const record = discovery.record(name);
    for (; rounds > 0; rounds--) {
      const seen = await history.record(client, { op: 'read' }, async () => (await record.read()) ?? null, nobodyKnows);
      const text = `${texts++}`;
      const version = seen?.version;
      const write = async (): Promise<number | null> => (await record.write(text, version)) ?? null;
      await history.record(client, { op: 'write', text, version: version ?? null }, write, nobodyKnows);
    }
  };
  const useCutOff = async (): Promise<void> => {
    const using = use(first, 2);
    fates.cut(first);
    await using.catch((error: unknown) => {
      if ((error as Error).name !== 'UnavailableError') throw error;
    });
  };
  await fates.settle(Promise.all(processes.map((discovery) => use(discovery, 5))));
  await fates.settle(Promise.all([useCutOff(), ...others.map((discovery) => use(discovery, 5))]));
  fates.heal(first);
  await fates.settle(Promise.all(processes.map((discovery) => use(discovery, 5))));
  return history.operations;
}

/**
 * Four processes lead, one after the other; one leader is cut off and comes back, one crashes. A client is one candidacy, which holds the lock from its election until its
 * leadership is lost, as far as it knows.
 */
export async function leaderHistory(role: string, fates: Fates): Promise<Operation<LockInput, number | undefined>[]> {
  const history = new History<LockInput, number | undefined>(systemClock);
  const processes = await Promise.all(Array.from({ length: 4 }, () => fates.connect()));
  let candidacies = 0;
  const lead = async (discovery: Discovery): Promise<{ leadership: Leadership; release: () => Call<undefined> }> => {
    const client = `process ${processes.indexOf(discovery)}, candidacy ${candidacies++}`;
    const call = history.begin(client, { op: 'acquire' });
    const leadership = await discovery.elect(role, client);
    call.ok(leadership.epoch);
    let released: Call<undefined> | undefined;
    const release = (): Call<undefined> => (released ??= history.begin(client, { op: 'release' }));
    void leadership.lost.then(release);
    return { leadership, release };
  };
  const leadThreeTimes = async (discovery: Discovery): Promise<void> => {
    for (let term = 0; term < 3; term++) {
      const { leadership, release } = await lead(discovery);
      const call = release();
      await leadership.resign();
      call.ok(undefined);
    }
  };
  await fates.settle(Promise.all(processes.map(leadThreeTimes)));
  const [first, second, ...others] = processes as [Discovery, Discovery, ...Discovery[]];
  await fates.settle(lead(first));
  const afterCut = [second, ...others].map(leadThreeTimes);
  fates.cut(first);
  await fates.settle(Promise.all(afterCut));
  fates.heal(first);
  const { release } = await fates.settle(lead(second));
  const afterCrash = [first, ...others].map(leadThreeTimes);
  release();
  await fates.crash(second);
  await fates.settle(Promise.all(afterCrash));
  return history.operations;
}
