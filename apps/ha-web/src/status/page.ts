/** The status page: HTML made of a report, and the few lines of script that keep it up to date. */
import { balancerWords, databaseWords, serverName, zookeeperWords, type DatabaseReport, type StatusReport } from './report.ts';

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => entities[character]!);

/** How a thing is: said by a sign and a word, and by a colour only besides. */
type Health = 'good' | 'idle' | 'bad';
const signs: Readonly<Record<Health, string>> = { good: '●', idle: '○', bad: '✕' };

interface Row {
  readonly health: Health;
  readonly name: string;
  readonly words: string;
}

const row = ({ health, name, words }: Row): string =>
  `<li class="${health}"><span aria-hidden="true">${signs[health]}</span> <b>${escape(name)}</b> ${escape(words)}</li>`;

const section = (title: string, rows: readonly Row[], none: string): string =>
  `<section><h2>${escape(title)}</h2><ul>${rows.map(row).join('') || `<li class="bad">${escape(none)}</li>`}</ul></section>`;

/** The whole page, as it is without a script. What has an id is kept up to date by the script. */
export function renderPage(report: StatusReport): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Status</title>
<link rel="stylesheet" href="/page.css">
<script src="/page.js" defer></script>
<noscript><meta http-equiv="refresh" content="2"></noscript>
</head>
<body>
<h1>Status</h1>
<p id="connection" role="alert"></p>
<main>
<p id="summary" role="status">${escape(summary(report))}</p>
<div id="topology">
${section('Balancers', balancerRows(report), 'none are known')}
${section('Web servers', serverRows(report), 'HAProxy has none')}
${section('Databases', databaseRows(report), 'none are known')}
${section('ZooKeeper', zookeeperRows(report), 'none are known')}
</div>
<h2 id="events-title">Events</h2>
<table aria-labelledby="events-title"><thead><tr><th scope="col">Time (UTC)</th><th scope="col">What</th></tr></thead><tbody id="events">
${report.events.map(({ at, text }) => `<tr><td>${timeOf(at)}</td><td>${escape(text)}</td></tr>`).join('\n')}
</tbody></table>
</main>
<footer>As ${escape(report.observer)} sees it. For programs: <a href="/status.json">status.json</a></footer>
</body>
</html>
`;
}

const timeOf = (at: number): string => new Date(at).toISOString().slice(11, 19);

function summary({ balancers, servers, databases }: StatusReport): string {
  const active = balancers.filter(({ state }) => state?.active === true).map(({ name }) => name);
  const primary = databases.find(({ status }) => status?.role === 'primary');
  const up = (service: string): number => servers.filter((each) => each.service === service && each.state === 'up').length;
  return [
    active.length === 0 ? 'No balancer is active' : `${active.join(' and ')} ${active.length === 1 ? 'is' : 'are'} active`,
    `${up('web-servers')} servers of pages and ${up('api-servers')} of the API are up`,
    primary === undefined ? 'no database is primary' : `${primary.name} is primary`,
    primary?.status?.replicaInSync === true ? 'its replica is in sync' : 'no replica is in sync',
  ].join(', ');
}

const balancerRows = ({ balancers }: StatusReport): Row[] =>
  balancers.map((balancer) => {
    const { name, state } = balancer;
    return { name, words: balancerWords(balancer), health: state?.haproxy !== true ? 'bad' : state.active ? 'good' : 'idle' };
  });

const serverRows = ({ servers }: StatusReport): Row[] =>
  servers.map((server) => ({
    name: serverName(server),
    words: `${server.address} is ${server.state}`,
    health: server.state === 'up' ? 'good' : server.state === 'down' ? 'bad' : 'idle',
  }));

const databaseRows = ({ databases }: StatusReport): Row[] =>
  databases.map((database) => {
    const role = database.status?.role;
    const health = role === 'primary' || role === 'replica' ? 'good' : role === 'starting' ? 'idle' : 'bad';
    return { name: database.name, words: `${databaseWords(database)}${databaseDetails(database)}`, health };
  });

function databaseDetails({ status }: DatabaseReport): string {
  if (status === undefined) return '';
  const lag = status.lagMs === undefined ? '' : `, ${(status.lagMs / 1_000).toFixed(1)} s behind`;
  const sync = status.role === 'primary' ? `, replica ${status.replicaInSync ? 'in sync' : 'not in sync'}` : '';
  return `, epoch ${status.epoch}${sync}${lag}, ${status.readOnly ? 'read-only' : 'writable'}`;
}

const zookeeperRows = ({ zookeeper }: StatusReport): Row[] =>
  zookeeper.map((server) => ({
    name: server.server,
    words: zookeeperWords(server),
    health: server.mode === undefined ? 'bad' : 'good',
  }));

/** Asks each second, and touches the page only where it has something new: who reads it, or has it read, is left alone otherwise. */
export const pageScript = `'use strict';
const connection = document.getElementById('connection');
function show(id, html) {
  const part = document.getElementById(id);
  if (part.innerHTML !== html) part.innerHTML = html;
}
async function update() {
  try {
    const response = await fetch('/', { signal: AbortSignal.timeout(2000) });
    const page = new DOMParser().parseFromString(await response.text(), 'text/html');
    for (const id of ['summary', 'topology', 'events']) show(id, page.getElementById(id).innerHTML);
    show('connection', '');
  } catch {
    show('connection', 'This balancer does not answer: what is below is out of date.');
  }
  setTimeout(update, 1000);
}
setTimeout(update, 1000);
`;

export const pageStyle = `:root { color-scheme: light dark; font: 1rem/1.4 system-ui, sans-serif; }
body { max-width: 70rem; margin: 0 auto; padding: 1rem; }
#topology { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
section { border: 1px solid; border-radius: 0.5rem; padding: 0 1rem; }
h2 { font-size: 1.1rem; }
ul { list-style: none; padding: 0; }
.good span { color: light-dark(#17692d, #6fd08c); }
.bad span { color: light-dark(#b3261e, #ff8a80); }
#connection { color: light-dark(#b3261e, #ff8a80); min-height: 1.4em; margin: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 0.2rem 1rem 0.2rem 0; border-bottom: 1px solid light-dark(#ccc, #444); }
td:first-child, th:first-child { width: 8rem; font-variant-numeric: tabular-nums; }
`;
