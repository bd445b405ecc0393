/** What a run that goes on has so far: the server's events are sorted in as they come, and the page is made anew from them about once in a second. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { insert, insertDepths } from '../insert.ts';
import type { More, Whole } from '../live.ts';
import type { Recording } from '../recording.ts';

/** So long the page waits for what comes late: spans leave their process now and then, and then they are drawn. */
const behindMs = 2_000;
const rebuildMs = 1_000;
/** A large recording takes a while to be drawn; most of the time is not for that. */
const rebuildShare = 0.2;

export interface Stream {
  readonly recording: Recording;
  readonly breaking: Whole['breaking'];
  /** The server answers. */
  readonly isConnected: boolean;
  /** The moment of the run that is shown, where nobody looks back. */
  presentMs(this: void): number;
}

/** The stream of the page's own server; `build` says how long it takes to make the page from a recording. */
export function useStream(first: Recording, buildMs: { readonly current: number }): Stream {
  const [recording, setRecording] = useState(first);
  const [breaking, setBreaking] = useState<Whole['breaking']>();
  const [isConnected, setConnected] = useState(true);
  const offsetMs = useRef((first.live?.untilMs ?? 0) - performance.now());
  const presentMs = useRef(() => Math.max(0, performance.now() + offsetMs.current - behindMs)).current;
  useEffect(() => {
    let { events, live } = { events: [...first.events], live: first.live! };
    let sampledFrom = first.sampledFrom;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const rebuild = (): void => {
      timer = undefined;
      setRecording({
        ...first,
        events: [...events],
        sampledFrom,
        live: { ...live, untilMs: performance.now() + offsetMs.current },
      });
    };
    const later = (): void => void (timer ??= setTimeout(rebuild, Math.max(rebuildMs, buildMs.current / rebuildShare)));
    const source = new EventSource('events');
    source.addEventListener('open', () => setConnected(true));
    source.addEventListener('error', () => setConnected(false));
    source.addEventListener('whole', ({ data }: MessageEvent<string>) => {
      const whole = JSON.parse(data) as Whole;
      ({ events, live, sampledFrom } = {
        events: [...whole.recording.events],
        live: whole.recording.live!,
        sampledFrom: whole.recording.sampledFrom,
      });
      offsetMs.current = live.untilMs - performance.now();
      setBreaking(whole.breaking);
      later();
    });
    source.addEventListener('message', ({ data }: MessageEvent<string>) => {
      const more = JSON.parse(data) as More;
      // What is told late is no earlier present.
      const told = more.nowMs - performance.now();
      offsetMs.current = Math.abs(told - offsetMs.current) > 500 ? told : Math.max(told, offsetMs.current);
      for (const event of more.events ?? []) insert(events, event);
      if (sampledFrom !== undefined) sampledFrom += more.events?.length ?? 0;
      if (more.depths !== undefined) live = { ...live, depths: insertDepths(live.depths, more.depths) };
      if (more.ledger !== undefined) live = { ...live, ledger: more.ledger };
      if (more.breaking !== undefined) setBreaking(more.breaking);
      later();
    });
    source.addEventListener('over', () => {
      source.close();
      location.reload();
    });
    return () => {
      clearTimeout(timer);
      source.close();
    };
  }, []);
  return { recording, breaking, isConnected, presentMs };
}
