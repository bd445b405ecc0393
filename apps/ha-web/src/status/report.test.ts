import { describe, expect, it } from 'vitest';
import type { AgentStatus } from '../database/agent-status.ts';
import { renderPage } from './page.ts';
import { changesBetween, mergeEvents, type StatusReport, type Topology } from './report.ts';

const agent: AgentStatus = {
  ...{ name: 'db-1', role: 'primary', epoch: 3, primary: 'db-1', replicaInSync: true, lagMs: undefined },
  ...{ readOnly: false, bootId: 'b', position: 12, events: [{ at: 2_000, text: 'opened' }] },
};
const topology: Topology = {
  ...{ at: 0, observer: 'lb-1' },
  balancers: [
    { name: 'lb-1', state: { active: true, haproxy: true } },
    { name: 'lb-2', state: { active: false, haproxy: true } },
  ],
  servers: [{ name: 'web-1', service: 'api-servers', address: '10.0.0.1:8081', state: 'up' }],
  databases: [{ name: 'db-1', status: agent }],
  zookeeper: [{ server: 'zookeeper-1:2181', mode: 'leader' }],
};

describe('changesBetween', () => {
  it('has nothing to say when nothing has changed, whatever the time', () => {
    expect(changesBetween(topology, { ...topology, at: 1_000 })).toEqual([]);
  });

  it('tells what each thing has become, and what has left', () => {
    const after: Topology = {
      ...topology,
      balancers: [
        { name: 'lb-1', state: undefined },
        { name: 'lb-2', state: { active: true, haproxy: false } },
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
  it('puts the own events and the agents together, newest first', () => {
    const own = [1_000, 3_000].map((at) => ({ at, text: `own ${at}` }));
    expect(mergeEvents(own, topology.databases).map(({ text }) => text)).toEqual(['own 3000', 'db-1: opened', 'own 1000']);
  });
});

describe('the status page', () => {
  const report: StatusReport = { ...topology, events: [{ at: 0, text: '<script>alert(1)</script>' }] };

  it('sums up, and says how each thing is by words', () => {
    const page = renderPage(report);
    expect(page).toContain('lb-1 is active, 0 servers of pages and 1 of the API are up, db-1 is primary, its replica is in sync');
    expect(page).toContain('<b>db-1</b> is primary, epoch 3, replica in sync, writable');
    expect(page).toContain('<html lang="en">');
  });

  it('shows as text what others have written', () => {
    expect(renderPage(report)).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
  });

  it('says what is missing', () => {
    const empty = { ...report, balancers: [], servers: [], databases: [], zookeeper: [], events: [] };
    expect(renderPage(empty)).toContain(
      'No balancer is active, 0 servers of pages and 0 of the API are up, no database is primary, no replica is in sync',
    );
  });
});
