/** What `npx nx load` says of the promises of the system: in a line, and each with what was checked. */
import type { VNode } from 'preact';
import type { Ledger } from '@lab/testing/ledger';

const kindOf = (kept: boolean | null): 'kept' | 'broken' | 'open' => (kept === null ? 'open' : kept ? 'kept' : 'broken');

export function LedgerLine({ ledger: { promises } }: { ledger: Ledger }): VNode {
  const count = (kind: string): number => promises.filter(({ kept }) => kindOf(kept) === kind).length;
  const parts = (['kept', 'broken', 'open'] as const).flatMap((kind) => (count(kind) > 0 ? [`${count(kind)} ${kind}`] : []));
  return (
    <span class={`promise pips${count('broken') > 0 ? ' broken' : ''}`}>
      <span aria-hidden="true">
        {promises.map(({ kept }, at) => (
          <i key={at} class={kindOf(kept)} />
        ))}
      </span>
      promises: {parts.join(', ')}
    </span>
  );
}

export function Promises({ ledger: { state, counts, promises } }: { ledger: Ledger }): VNode {
  return (
    <section id="promises" aria-label="Promises">
      <div class="bar">
        <h2>Promises</h2>
        <span class="sub num">
          {[
            ...Object.entries(counts).map(([what, count]) => `${count.toLocaleString('en')} ${what}`),
            ...(state === 'working' ? [] : [state]),
          ].join(' · ')}
        </span>
      </div>
      <ul>
        {promises.map(({ promise, kept, detail }) => (
          <li key={promise} class={kindOf(kept)}>
            <i aria-hidden="true" />
            <span>
              {promise}
              <small>{[kindOf(kept), detail].filter(Boolean).join(': ')}</small>
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}
