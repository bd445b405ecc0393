/** The page of a recorded run: the recording stands in the document. */
import { render } from 'preact';
import { flowOf } from '../layout.ts';
import { makeModel } from '../model.ts';
import type { Recording } from '../recording.ts';
import { makeScale } from '../scale.ts';
import { App } from './app.tsx';
import { tracksOf } from './tracks.ts';

const recording = JSON.parse(document.getElementById('recording')!.textContent) as Recording;
const model = makeModel(recording);
const scale = makeScale(model.events);
document.title = `${recording.system}${recording.seed === undefined ? '' : `, seed ${recording.seed}`} · watch`;
document.documentElement.dataset['theme'] = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
const flow = flowOf(model);
const run = { model, scale, flow, tracks: tracksOf(model, flow, scale) };
render(<App run={run} />, document.getElementById('app')!);
