/** The page of a recorded run: the recording stands in the document. */
import { render, type VNode } from 'preact';
import { useMemo, useRef, useState } from 'preact/hooks';
import { flowOf } from '../layout.ts';
import { makeModel } from '../model.ts';
import type { Recording } from '../recording.ts';
import { makeClockScale, makeScale } from '../scale.ts';
import { App, minutes, seconds, type Run } from './app.tsx';
import { canRunAgain, firstDifference, planOf, struckBy, type Again } from './faults.tsx';
import { useStream } from './stream.ts';
import { tracksOf } from './tracks.ts';

const recorded = JSON.parse(document.getElementById('recording')!.textContent) as Recording;
document.title = `${recorded.system}${recorded.seed === undefined ? '' : `, seed ${recorded.seed}`} · watch`;
document.documentElement.dataset['theme'] = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';

function runOf(recording: Recording): Run {
  const model = makeModel(recording);
  const { live } = recording;
  const scale = live === undefined ? makeScale(model.events) : makeClockScale(model.events, live.untilMs);
  const flow = flowOf(model);
  return { model, scale, flow, tracks: tracksOf(model, flow, scale), clock: live === undefined ? seconds : minutes };
}

/** A run that goes on. */
function LivePage(): VNode {
  const buildMs = useRef(0);
  const { recording, ...live } = useStream(recorded, buildMs);
  const run = useMemo(() => {
    const startMs = performance.now();
    const made = runOf(recording);
    buildMs.current = performance.now() - startMs;
    return made;
  }, [recording]);
  return <App run={run} live={live} />;
}

/** A recording, and after it those that the reader has asked for. */
function Page(): VNode {
  const [recording, setRecording] = useState(recorded);
  const [plan, setPlan] = useState(() => planOf(recorded));
  const [told, setTold] = useState('');
  const [isRunning, setRunning] = useState(false);
  const run = useMemo(() => runOf(recording), [recording]);
  const again: Again = {
    plan,
    setPlan,
    told,
    isRunning,
    start: () => {
      setRunning(true);
      struckBy(plan)
        .then((next) => {
          const at = firstDifference(recording.events, next.events);
          setTold(at === undefined ? 'All went as before.' : `As before up to event ${at}.`);
          location.hash = `#event=${at ?? next.events.length - 1}`;
          setRecording(next);
        })
        .catch((error: Error) => setTold(error.message))
        .finally(() => setRunning(false));
    },
  };
  return <App key={recording} run={run} again={canRunAgain(recording) ? again : undefined} />;
}

render(document.documentElement.dataset['live'] === undefined ? <Page /> : <LivePage />, document.getElementById('app')!);
