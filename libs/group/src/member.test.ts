/** The protocol as a transcript: news in, what is to be done out. */
import { describe, expect, test } from 'vitest';
import { decodeEntry, encodeEntry, memberId, type Entry } from './entries.ts';
import { firstHead } from './ledger.ts';
import { Member, type Action } from './member.ts';

const options = { token: 'x', probeMs: 2_000, silentMs: 5_000, closeBytes: 1_000 };
const own = memberId('a', 'x', 3);
const other = memberId('b', 'y', 4);

/** What was done, in short. */
function tell(action: Action): string {
  switch (action.type) {
    case 'append': {
      const entry = decodeEntry(action.bytes)!;
      if (entry.kind === 'view') return `view ${entry.epoch}.${entry.number} ${entry.cause} of ${entry.members.join()}`;
      return entry.kind === 'message' ? `message ${entry.sender} ${entry.number} ${entry.body.toString()}` : entry.kind;
    }
    case 'deliver': {
      const { event } = action;
      return event.type === 'view'
        ? `see ${event.id} of ${event.members.map(({ id }) => id).join()}`
        : `see ${event.body.toString()}`;
    }
    case 'open':
    case 'checkpoint':
      return `${action.type} ${action.log}`;
    case 'switch':
      return `switch ${action.previous}`;
    case 'base':
      return `base ${action.state.toString()}`;
    case 'settle':
      return `settle ${action.ticket}${action.indefinite === undefined ? '' : ' as indefinite'}`;
    case 'place':
    case 'unplace':
      return action.type;
  }
}

class Transcript {
  readonly member = new Member(options);
  nowMs = 0;

  do(news: (member: Member) => void): string[] {
    news(this.member);
    return this.member.takeActions().map(tell);
  }

  read(...entries: readonly Entry[]): string[] {
    return entries.flatMap((entry) => this.do((member) => member.entry(this.log, entry, encodeEntry(entry).length)));
  }
  log = 'log-1';

  pass(ms: number): string[] {
    return this.do((member) => member.tick((this.nowMs += ms)));
  }

  multicast(text: string): string[] {
    return this.do((member) => member.multicast(Buffer.from(text), 'agreed'));
  }
}

const probe: Entry = { kind: 'probe', token: 'x' };
const view = (epoch: number, number: number, ...members: string[]): Entry => ({
  ...{ kind: 'view', epoch, number, cause: 'join', members },
});
const message = (sender: string, number: number, text: string): Entry => ({
  ...{ kind: 'message', sender, number, service: 'agreed', body: Buffer.from(text) },
});

/** In the group, alone or with another. */
function joined(...members: string[]): Transcript {
  const transcript = new Transcript();
  transcript.pass(0);
  transcript.do((member) => member.pointer('log-1'));
  transcript.read(firstHead, probe);
  transcript.do((member) => member.placed(3));
  transcript.read(view(1, 1, ...members));
  return transcript;
}

describe('a member', () => {
  test('begins the first log where there is none, reads, hears itself, takes a place, and is in with its view', () => {
    const transcript = new Transcript();
    expect(transcript.do((member) => member.pointer(undefined))).toEqual(['switch undefined']);
    expect(transcript.do((member) => member.pointer('log-1'))).toEqual(['open log-1']);
    expect(transcript.read(firstHead)).toEqual(['base ', 'probe']);
    expect(transcript.multicast('early')).toEqual([]);
    expect(transcript.read({ kind: 'probe', token: 'y' })).toEqual([]);
    expect(transcript.read(probe)).toEqual(['place']);
    expect(transcript.do((member) => member.placed(3))).toEqual([]);
    expect(transcript.read(view(1, 1, own))).toEqual([`see 1.1 of ${own}`, `message ${own} 1 early`]);
    expect(transcript.read(message(own, 1, 'early'))).toEqual(['see early', 'settle 1']);
  });

  test('writes, once elected, one change at a time, departures first, and each but once', () => {
    const transcript = joined(memberId('gone', 'z', 1));
    const elect = (...ids: string[]): string[] => transcript.do((member) => member.elected(2, ids));
    expect(elect(own, other)).toEqual(['view 2.1 disconnect of ']);
    expect(elect(own, other)).toEqual([]);
    expect(transcript.read(view(2, 1))).toEqual(['see 2.1 of ', `view 2.2 join of ${own}`]);
    expect(transcript.read(view(2, 2, own))).toEqual([`see 2.2 of ${own}`, `view 2.3 join of ${own},${other}`]);
    // What does not come back is written again.
    expect(transcript.pass(2_001)).toEqual(['probe', `view 2.3 join of ${own},${other}`]);
    transcript.do((member) => member.deposed());
    expect(transcript.pass(2_001)).toEqual([]);
  });

  test('sends again what was dropped, in order, and what does not come back', () => {
    const transcript = joined(own);
    expect([...transcript.multicast('one'), ...transcript.multicast('two')]).toEqual([
      `message ${own} 1 one`,
      `message ${own} 2 two`,
    ]);
    // The first one is lost; so the second is a gap, which nobody counts.
    expect(transcript.read(message(own, 2, 'two'))).toEqual([]);
    expect(transcript.pass(1_900)).toEqual([]);
    expect(transcript.pass(200)).toEqual(['probe', `message ${own} 1 one`, `message ${own} 2 two`]);
    expect(transcript.read(message(own, 1, 'one'), message(own, 1, 'one'), message(own, 2, 'two'))).toEqual([
      ...['see one', 'settle 1', 'see two', 'settle 2'],
    ]);
  });

  test('that was put out takes another place, and sends what did not count under its new id', () => {
    const transcript = joined(own, other);
    transcript.multicast('lost');
    expect(transcript.read(view(2, 1, other))).toEqual([`see 2.1 of ${other}`, 'unplace', 'place']);
    transcript.do((member) => member.placed(7));
    expect(transcript.read(message(own, 1, 'lost'))).toEqual([]);
    const again = memberId('a', 'x', 7);
    expect(transcript.read(view(2, 2, other, again))).toEqual([`see 2.2 of ${other},${again}`, `message ${again} 1 lost`]);
  });

  test('that does not hear itself for too long gives its place up until it does', () => {
    const transcript = joined(own);
    transcript.do((member) => member.elected(2, [own]));
    expect(transcript.pass(2_000)).toEqual(['probe']);
    expect(transcript.pass(4_999)).toEqual([]);
    expect(transcript.pass(1)).toEqual(['unplace', 'probe']);
    expect(transcript.pass(1_000)).toEqual([]);
    expect(transcript.read(probe)).toEqual(['place']);
  });

  test('says goodbye, and can no longer tell what becomes of its multicasts', () => {
    const transcript = joined(own);
    transcript.multicast('one');
    expect(transcript.do((member) => member.leave())).toEqual(['leave', 'settle 1 as indefinite', 'unplace']);
    expect(transcript.read(message(own, 1, 'one'))).toEqual([]);
    expect(transcript.pass(60_000)).toEqual([]);
  });
});

describe('a log that is long enough', () => {
  const long = (): Transcript => {
    const transcript = joined(own);
    expect(transcript.do((member) => member.elected(2, [own]))).toEqual([]);
    expect(transcript.read(message(other, 1, 'x'.repeat(1_000)))).toEqual(['close']);
    return transcript;
  };
  const close: Entry = { kind: 'close', epoch: 2, number: 1 };

  test('is closed, and goes on in the next: the state at the close, and what was behind it sent again', () => {
    const transcript = long();
    transcript.multicast('late');
    expect(transcript.read(close)).toEqual(['checkpoint log-1']);
    expect(transcript.read(message(own, 1, 'late'))).toEqual([]);
    expect(transcript.multicast('later')).toEqual([]);
    let head: Entry | undefined;
    transcript.member.saved('log-1', Buffer.from('state'));
    transcript.member.saved('log-1', Buffer.from('again'));
    for (const action of transcript.member.takeActions()) {
      expect(tell(action)).toBe('switch log-1');
      expect(head).toBeUndefined();
      if (action.type === 'switch') head = decodeEntry(action.head);
    }
    expect(transcript.do((member) => member.pointer('log-2'))).toEqual(['open log-2']);
    transcript.log = 'log-2';
    expect(transcript.read(head!)).toEqual(['probe', `message ${own} 1 late`, `message ${own} 2 later`]);
  });

  test('is left to another where the application does not answer, and taken up again when it does', () => {
    const transcript = long();
    transcript.read(close, probe);
    expect(transcript.pass(1_900)).toEqual([]);
    transcript.read(probe);
    expect(transcript.pass(3_100)).toEqual(['probe', 'unplace']);
    transcript.read(probe);
    expect(transcript.pass(1_000)).toEqual([]);
    expect(transcript.do((member) => member.saved('log-1', Buffer.from('state')))).toEqual(['switch log-1']);
    expect(transcript.pass(200)).toEqual(['place']);
  });

  test('is finished by whoever is elected next', () => {
    const transcript = joined(own);
    expect(transcript.read({ kind: 'close', epoch: 1, number: 2 })).toEqual([]);
    expect(transcript.do((member) => member.elected(2, [own]))).toEqual(['checkpoint log-1']);
  });

  test('and the one after it, missed: the state of a later one is the base, and says what became of multicasts', () => {
    const transcript = joined(own);
    for (const text of ['one', 'two']) transcript.multicast(text);
    transcript.do((member) => member.pointer('log-3'));
    expect(transcript.do((member) => member.logGone('log-1'))).toEqual(['open log-3']);
    transcript.log = 'log-3';
    const head: Entry = {
      ...firstHead,
      previous: 'log-2',
      viewId: '2.5',
      members: [own],
      accepted: { [own]: 1 },
      sequenceMax: 3,
    };
    expect(transcript.read({ ...head, state: Buffer.from('later') })).toEqual([
      ...['settle 1', 'base later', `see 2.5 of ${own}`, 'probe', `message ${own} 2 two`],
    ]);
    transcript.do((member) => member.pointer('log-6'));
    expect(transcript.do((member) => member.logGone('log-3'))).toEqual(['open log-6']);
    transcript.log = 'log-6';
    expect(transcript.read({ ...head, previous: 'log-5', members: [other] })).toContain('settle 2 as indefinite');
  });
});

describe('a log that its broker has lost', () => {
  test('goes on from what any member knows that has read it', () => {
    const transcript = joined(own);
    expect(transcript.do((member) => member.logGone('log-1'))).toEqual(['checkpoint log-1']);
    expect(transcript.do((member) => member.saved('log-1', Buffer.from('state')))).toEqual(['switch log-1']);
    expect(transcript.do((member) => member.pointer('log-2'))).toEqual(['open log-2']);
    transcript.log = 'log-2';
    // Another was first, and knew less perhaps.
    expect(transcript.read({ ...firstHead, previous: 'log-1', state: Buffer.from('less') })).toContain('base less');
  });

  test('begins anew where nobody that has read it is left', () => {
    const transcript = new Transcript();
    transcript.pass(0);
    transcript.do((member) => member.pointer('log-1'));
    expect(transcript.do((member) => member.logGone('log-1'))).toEqual([]);
    expect(transcript.pass(4_999)).not.toContain('switch log-1');
    expect(transcript.pass(1)).toContain('switch log-1');
  });
});
