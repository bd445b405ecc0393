import { describe, expect, it } from 'vitest';
import type { AgentStatus } from '../../database/domain/agent-status.ts';
import { renderPage } from './page.ts';
import { changesBetween, mergeEvents, type StatusReport, type Topology } from './report.ts';

const agent: AgentStatus = {
  ...{ name: 'db-1', role: 'primary', epoch: 3, primary: 'db-1', replicaInSync: true, lagMs: undefined },
  ...{
    dataEpoch: 3,
    readOnly: false,
    bootId: 'b',
    position: 12,
    events: [{ at: 2_000, text: 'goAlone: it is the primary on record' }],
  },
};
const topology: Topology = {
  ...{ at: 0, observer: 'lb-1' },
  balancers: [
    { name: 'lb-1', page: 'http://10.0.1.1:8404/', state: { active: true, haproxy: true } },
    { name: 'lb-2', page: 'http://10.0.1.2:8404/', state: { active: false, haproxy: true } },
  ],
  servers: [{ name: 'web-1', service: 'api-servers', address: '10.0.0.1:8081', state: 'up' }],
  databases: [{ name: 'db-1', status: agent }],
  zookeeper: [{ server: 'zookeeper-1:2181', mode: 'leader' }],
};

describe('changesBetween', () => {
  it('has nothing to say when nothing has changed, whatever the time', () => {
    expect(changesBetween(topology, { ...topology, at: 1_000 })).toEqual([]);
  });

  it('makes a sentence of each state of a server', () => {
    const states = ['down', 'draining', 'maintenance'] as const;
    const after = (state: (typeof states)[number]): Topology => ({ ...topology, servers: [{ ...topology.servers[0]!, state }] });
    expect(states.flatMap((state) => changesBetween(topology, after(state)))).toEqual([
      'web-1 (API) is down',
      'web-1 (API) is draining',
      'web-1 (API) is in maintenance',
    ]);
  });

  it('tells what each thing has become, and what has left', () => {
    const after: Topology = {
      ...topology,
      balancers: [
        { ...topology.balancers[0]!, state: undefined },
        { ...topology.balancers[1]!, state: { active: true, haproxy: false } },
      ],
      servers: [],
      databases: [{ name: 'db-1', status: { ...agent, role: 'fenced' } }],
      zookeeper: [{ server: 'zookeeper-1:2181', mode: undefined }],
    };
    expect(changesBetween(topology, after)).toEqual([
      'lb-1 does not answer',
      'lb-2 is active, without HAProxy',
      'web-1 (API) has left',
      'db-1 is fenced',
      'zookeeper-1:2181 does not serve',
    ]);
  });
});

describe('mergeEvents', () => {
  const told = (text: string): string[] => {
    const databases = [{ name: 'db-1', status: { ...agent, events: [{ at: 2_000, text }] } }];
    const own = [1_000, 3_000].map((at) => ({ at, text: `own ${at}` }));
    return mergeEvents(own, databases).map((event) => event.text);
  };

  it('puts the own events and the agents together, newest first', () => {
    expect(told('records itself as the primary')).toEqual(['own 3000', 'db-1 records itself as the primary', 'own 1000']);
  });

  it('does without those of an agent that tells none', () => {
    const { events, ...older } = agent;
    expect(mergeEvents(events, [{ name: 'db-1', status: older as AgentStatus }])).toEqual(events);
  });
});

describe('the status page', () => {
  const whole: StatusReport = {
    ...topology,
    servers: (['web-servers', 'api-servers'] as const).map((service) => ({ ...topology.servers[0]!, service })),
    events: [],
  };

  it('sums up what is well', () => {
    const page = renderPage(whole);
    expect(page).toContain('<title>All is well · Marketplace status</title>');
    expect(page).toContain('lb-1 is active, db-1 is primary, its replica is in sync; servers up: 1 for pages, 1 for the API.');
  });

  it('names each fault, of a machine and of the whole', () => {
    const alone: StatusReport = {
      ...whole,
      balancers: whole.balancers.map((balancer) => ({ ...balancer, state: { active: true, haproxy: true } })),
      servers: [{ ...whole.servers[0]!, state: 'down' }, whole.servers[1]!],
      databases: [
        { name: 'db-1', status: { ...agent, replicaInSync: false } },
        { name: 'db-2', status: undefined },
      ],
    };
    const page = renderPage(alone);
    expect(page).toContain('<title>5 faults · Marketplace status</title>');
    for (const fault of [
      'web-1 (pages) is down',
      'db-2 does not answer',
      'lb-1 and lb-2 are active at once',
      'lb-1 has no server for pages',
      'no replica is in sync, so none may take the place of the primary',
    ]) {
      expect(page).toContain(`<li>${fault}</li>`);
    }
  });

  it('says what is missing', () => {
    const page = renderPage({ ...whole, balancers: [], servers: [], databases: [], zookeeper: [], events: [] });
    for (const fault of ['no balancer is active', 'lb-1 has no server for the API', 'no database is primary']) {
      expect(page).toContain(`<li>${fault}</li>`);
    }
    expect(page.match(/none are known/g)).toHaveLength(4);
  });

  it('shows as text what others have written', () => {
    const text = `<script>alert("1")</script>'&`;
    const escaped = '&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;';
    const page = renderPage({
      ...{ at: 0, observer: text, events: [{ at: 0, text }] },
      balancers: [{ name: text, page: text, state: undefined }],
      servers: [{ name: text, service: 'api-servers', address: text, state: 'up' }],
      databases: [{ name: text, status: agent }],
      zookeeper: [{ server: text, mode: 'leader' }],
    });
    for (const part of [`href="${escaped}"`, `<td>${escaped}</td>`]) expect(page).toContain(part);
    expect(page.match(/<script/g)).toHaveLength(1);
  });
});
