/** Faults by a button: each is a command, which the server runs in the folder of the app; those of a demo it does itself. */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { statusOf, type State } from '../model.ts';
import type { LivePage, Run } from './app.tsx';

type Breaking = NonNullable<LivePage['breaking']>;

interface Props {
  run: Run;
  state: State;
  ms: number;
  breaking: Breaking;
  target: number | undefined;
  choose: (instance: number) => void;
}

/** As long as most faults last: what was said of one that is over is no news. */
const saidMs = 60_000;
/** What has no target is no button. */
const hidden = new Set(['list', 'random']);
const ofDead = new Set(['start', 'heal']);
const ofHung = new Set(['unpause', 'heal']);

/** What follows the command: the first words of the verb that have to be there. */
function wordsOf(verb: string, words: string, target: string): string[] {
  const given = words.split(' ').filter((word) => word !== '' && (!word.startsWith('[') || verb === 'heal'));
  return [verb, ...given.map((word) => (/^\[?A\]?$/.test(word) ? target : word))];
}

async function struck(words: readonly string[]): Promise<string> {
  const response = await fetch('break', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ words }),
  });
  const text = (await response.text()).trim();
  if (!response.ok) throw new Error(text);
  return text;
}

export function Break({ run, state, ms, breaking: { command, verbs, roles, waiting }, target, choose }: Props): VNode {
  const [said, setSaid] = useState<{ text: string; isError: boolean }>();
  const [busy, setBusy] = useState<string>();
  useEffect(() => {
    const timer = setTimeout(() => setSaid(undefined), saidMs);
    return () => clearTimeout(timer);
  }, [said]);
  const strike = (words: readonly string[]): void => {
    setBusy(words[0]);
    setSaid(undefined);
    struck(words)
      .then(
        (text) => setSaid({ text, isError: false }),
        (error: Error) => setSaid({ text: error.message, isError: true }),
      )
      .finally(() => setBusy(undefined));
  };
  const { instances } = run.model;
  const name = target === undefined ? undefined : instances[target]!.name;
  const status = target === undefined ? 'absent' : statusOf(state.instances[target]!, ms);
  const own = name === undefined ? undefined : roles && (roles[name] ?? []);
  const fits = (verb: string): boolean => {
    if (hidden.has(verb) || own?.includes(verb) === false) return false;
    if (status === 'dead') return ofDead.has(verb);
    return status === 'hung' ? ofHung.has(verb) : !['start', 'unpause'].includes(verb);
  };
  return (
    <section id="break" aria-label="Break">
      <div class="bar">
        <h2>Break</h2>
        <select
          aria-label="Target"
          value={target === undefined ? '' : String(target)}
          onChange={({ currentTarget }) => choose(Number(currentTarget.value))}
        >
          {target === undefined && <option value="">choose a box of the map</option>}
          {run.tracks.order.map((each) => (
            <option key={each} value={String(each)}>
              {instances[each]!.name}
            </option>
          ))}
        </select>
        <span class="grow" />
        <button class="btn" disabled={busy !== undefined} title={`${command} heal`} onClick={() => strike(['heal'])}>
          Heal all
        </button>
      </div>
      {waiting !== undefined && (
        <p class="waiting">
          <span class="grow">{waiting}</span>
          <button class="btn" disabled={busy !== undefined} onClick={() => strike(['go-on'])}>
            Go on
          </button>
        </p>
      )}
      {own?.length === 0 && <p class="said">{name} cannot be broken here</p>}
      {name !== undefined && (
        <div class="verbs">
          {Object.entries(verbs)
            .filter(([verb]) => fits(verb))
            .map(([verb, { words, summary }]) => {
              const order = wordsOf(verb, words, name);
              const line = `${command} ${order.join(' ')}`;
              return (
                <button
                  key={verb}
                  class={`verb ${verb}`}
                  title={`${line}\n${summary}`}
                  aria-label={`${verb} ${name}: ${line}`}
                  disabled={busy !== undefined}
                  onClick={() => strike(order)}
                >
                  <b>{verb}</b>
                  <code>
                    <span>{command}</span> <em>{order.join(' ')}</em>
                  </code>
                </button>
              );
            })}
        </div>
      )}
      <p class={`said${said?.isError === true ? ' error' : ''}`} role="status">
        {busy === undefined ? (said?.text ?? '') : `${busy} …`}
      </p>
    </section>
  );
}

const metricsMs = 2_000;
/** More are not read. */
const shownMax = 8;

/** What a role counts, asked for while it is chosen. */
export function Metrics({ role }: { role: string }): VNode | null {
  const [metrics, setMetrics] = useState<Readonly<Record<string, number>>>({});
  useEffect(() => {
    let isOpen = true;
    let timer: ReturnType<typeof setTimeout>;
    const ask = (): void =>
      void fetch('metrics', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ role }) })
        .then((response) => (response.ok ? (response.json() as Promise<Record<string, number>>) : {}))
        .catch(() => ({}))
        .then((found) => {
          if (!isOpen) return;
          setMetrics(found);
          timer = setTimeout(ask, metricsMs);
        });
    setMetrics({});
    ask();
    return () => {
      isOpen = false;
      clearTimeout(timer);
    };
  }, [role]);
  const rows = Object.entries(metrics).slice(0, shownMax);
  if (rows.length === 0) return null;
  return (
    <dl class="metrics num" aria-label={`What ${role} counts`}>
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name.replaceAll('_', ' ')}</dt>
          <dd>{Number.isInteger(value) ? value.toLocaleString('en') : value.toPrecision(3)}</dd>
        </div>
      ))}
    </dl>
  );
}
