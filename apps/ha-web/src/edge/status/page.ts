/** The status page: HTML made of a report, which page.js keeps up to date. */
import {
  balancerWords,
  databaseWords,
  serverName,
  serverWords,
  zookeeperWords,
  type DatabaseReport,
  type ServerReport,
  type StatusReport,
} from './report.ts';

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => entities[character]!);

/** How a thing is: said by a sign and a word, and by a colour only besides. What is bad is a fault. */
type Health = 'good' | 'idle' | 'bad';
const signs: Readonly<Record<Health, string>> = { good: '●', idle: '○', bad: '✕' };

/** A machine, or a server on one. */
interface Row {
  readonly health: Health;
  readonly name: string;
  /** Where it shows itself. */
  readonly link?: string;
  /** Makes a sentence with the name before it. */
  readonly words: string;
  /** A cell each. */
  readonly details: readonly string[];
}

interface Table {
  readonly id: string;
  readonly title: string;
  /** Of the names, the states, and each of the details. */
  readonly columns: readonly string[];
  readonly rows: readonly Row[];
}

/** The whole page, as it is without a script. Parts with `data-live` are kept up to date by the script; each has an id. */
export function renderPage(report: StatusReport): string {
  const tables = tablesOf(report);
  const faults = [...tables.flatMap(faultsOf), ...missing(report)];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${counted(faults)} · Marketplace status</title>
<link rel="stylesheet" href="/page.css">
<script src="/page.js" defer></script>
<noscript><meta http-equiv="refresh" content="2"></noscript>
</head>
<body>
<h1>Marketplace status</h1>
<p id="connection" role="alert"></p>
<main>
<div id="verdict" role="status" data-live>${verdict(report, faults)}</div>
<div id="tables">
${tables.map(renderTable).join('\n')}
</div>
${renderEvents(report)}
</main>
<footer>Seen by ${escape(report.observer)} at <span id="seen" data-live>${timeOf(report.at)}</span> UTC. For programs: <a href="/status.json">status.json</a>. Every process, and what passes between them: <code>npx nx look ha-web</code></footer>
</body>
</html>
`;
}

function verdict(report: StatusReport, faults: readonly string[]): string {
  const health = faults.length === 0 ? 'good' : 'bad';
  const items = faults.map((fault) => `<li>${escape(fault)}</li>`).join('');
  const detail = items === '' ? `<p>${escape(summary(report))}</p>` : `<ul>${items}</ul>`;
  return `<p class="${health}">${sign(health)} <strong>${counted(faults)}</strong></p>${detail}`;
}

const counted = ({ length }: readonly string[]): string =>
  length === 0 ? 'All is well' : length === 1 ? '1 fault' : `${length} faults`;

const sign = (health: Health): string => `<span aria-hidden="true">${signs[health]}</span>`;

const renderTable = ({ id, title, columns, rows }: Table): string => `<section>
<h2 id="${id}-title">${title}</h2>
<table aria-labelledby="${id}-title"><thead><tr>${columns.map((column) => `<th scope="col">${column}</th>`).join('')}</tr></thead>
<tbody id="${id}" data-live>${rows.map(renderRow).join('') || `<tr><td colspan="${columns.length}">none are known</td></tr>`}</tbody></table>
</section>`;

function renderRow({ health, name, link, words, details }: Row): string {
  const named = link === undefined ? escape(name) : `<a href="${escape(link)}">${escape(name)}</a>`;
  const state = `<td class="${health}">${sign(health)} ${escape(words.replace(/^is /, ''))}</td>`;
  return `<tr><th scope="row">${named}</th>${state}${details.map((detail) => `<td>${escape(detail)}</td>`).join('')}</tr>`;
}

const renderEvents = ({ events }: StatusReport): string => `<section>
<h2 id="events-title">Events</h2>
<table aria-labelledby="events-title"><thead><tr><th scope="col">Time (UTC)</th><th scope="col">Event</th></tr></thead>
<tbody id="events" data-live>${events.map(({ at, text }) => `<tr><td>${timeOf(at)}</td><td>${escape(text)}</td></tr>`).join('')}</tbody></table>
</section>`;

const timeOf = (at: number): string => new Date(at).toISOString().slice(0, 19).replace('T', ' ');

const tablesOf = (report: StatusReport): Table[] => [
  { id: 'balancers', title: 'Balancers', columns: ['Balancer', 'State'], rows: balancerRows(report) },
  { id: 'servers', title: 'Web servers', columns: ['Server', 'State', 'Address'], rows: report.servers.map(serverRow) },
  {
    ...{ id: 'databases', title: 'Databases', rows: report.databases.map(databaseRow) },
    columns: ['Database', 'State', 'Replication', 'Data', 'Epoch', 'Transaction'],
  },
  { id: 'zookeeper', title: 'ZooKeeper', columns: ['Server', 'State'], rows: zookeeperRows(report) },
];

const balancerRows = ({ balancers }: StatusReport): Row[] =>
  balancers.map((balancer) => {
    const { name, page, state } = balancer;
    const health = state?.haproxy !== true ? 'bad' : state.active ? 'good' : 'idle';
    return { health, name, link: page, words: balancerWords(balancer), details: [] };
  });

const serverRow = (server: ServerReport): Row => ({
  health: server.state === 'up' ? 'good' : server.state === 'down' ? 'bad' : 'idle',
  name: serverName(server),
  words: serverWords(server),
  details: [server.address],
});

function databaseRow(database: DatabaseReport): Row {
  const { name, status } = database;
  const health = { primary: 'good', replica: 'good', starting: 'idle', fenced: 'bad' } as const;
  return {
    health: status === undefined ? 'bad' : health[status.role],
    name,
    words: databaseWords(database),
    details:
      status === undefined
        ? ['', '', '', '']
        : [replication(status), status.readOnly ? 'read-only' : 'writable', `${status.epoch}`, `${status.position ?? ''}`],
  };
}

function replication({ role, replicaInSync, lagMs }: NonNullable<DatabaseReport['status']>): string {
  if (role === 'primary') return replicaInSync ? 'replica in sync' : 'none in sync';
  return lagMs === undefined ? '' : `${(lagMs / 1_000).toFixed(1)} s behind`;
}

const zookeeperRows = ({ zookeeper }: StatusReport): Row[] =>
  zookeeper.map((server) => ({
    health: server.mode === undefined ? 'bad' : 'good',
    name: server.server,
    words: zookeeperWords(server),
    details: [],
  }));

const faultsOf = ({ rows }: Table): string[] =>
  rows.filter(({ health }) => health === 'bad').map(({ name, words }) => `${name} ${words}`);

const activeOf = ({ balancers }: StatusReport): string[] =>
  balancers.filter(({ state }) => state?.active === true).map(({ name }) => name);
const primariesOf = ({ databases }: StatusReport): DatabaseReport[] =>
  databases.filter(({ status }) => status?.role === 'primary');
const upOf = ({ servers }: StatusReport, service: ServerReport['service']): number =>
  servers.filter((server) => server.service === service && server.state === 'up').length;

/** Faults of the whole that no single machine has. */
function missing(report: StatusReport): string[] {
  const [active, primaries] = [activeOf(report), primariesOf(report)];
  const faults: [boolean, string][] = [
    [active.length === 0, 'no balancer is active'],
    [active.length > 1, `${active.join(' and ')} are active at once`],
    [upOf(report, 'web-servers') === 0, `${report.observer} has no server for pages`],
    [upOf(report, 'api-servers') === 0, `${report.observer} has no server for the API`],
    [primaries.length === 0, 'no database is primary'],
    [primaries.length > 1, `${primaries.map(({ name }) => name).join(' and ')} are primary at once`],
    [
      primaries.some(({ status }) => status?.replicaInSync === false),
      'no replica is in sync, so none may take the place of the primary',
    ],
  ];
  return faults.filter(([holds]) => holds).map(([, text]) => text);
}

/** Of a system without faults. */
const summary = (report: StatusReport): string =>
  `${activeOf(report)[0]} is active, ${primariesOf(report)[0]!.name} is primary, its replica is in sync; ` +
  `servers up: ${upOf(report, 'web-servers')} for pages, ${upOf(report, 'api-servers')} for the API.`;
