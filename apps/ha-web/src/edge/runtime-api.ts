/**
 * HAProxy's Runtime API, over its admin socket: https://docs.haproxy.org/2.6/management.html#9.3. Changes are in force at once, without a reload, and are
 * forgotten when HAProxy starts again.
 */
import { connect } from 'node:net';
import type { Change, HeldServer } from './domain/reconcile.ts';
import { HaproxyError, type RuntimeApi } from './haproxy.ts';

/** It answers within a millisecond; one that takes this long hangs. With it, a look's interval and a takeover clients wait for less than a second. */
const answerMs = 300;
/** An answer about 4,000 servers has 1 MB. */
const answerCharsMax = 4_000_000;

export function makeRuntimeApi(socketPath: string): RuntimeApi {
  const execute = (command: string): Promise<string> => ask(socketPath, command);
  return {
    // Of all proxies (-1) the servers (4), each (-1).
    servers: async () => parseServers(await execute('show stat -1 4 -1')),
    async apply(change) {
      for (const { command, answer } of commandsOf(change)) {
        const said = (await execute(command)).trim();
        if (!answer.test(said)) throw new HaproxyError(`${command}: ${said}`, { answered: true });
      }
    },
  };
}

/** A connection for each command: HAProxy closes it behind its answer, so that its end is known. */
async function ask(socketPath: string, command: string): Promise<string> {
  const socket = connect(socketPath).setEncoding('utf8');
  // When this process was kept from running, an answer may be there and not be read yet: it is before the immediate.
  const tooLate = (): void => void setImmediate(() => socket.destroy(new Error(`no answer within ${answerMs} ms`)));
  const timer = setTimeout(tooLate, answerMs);
  try {
    socket.end(`${command}\n`);
    let answer = '';
    for await (const part of socket) {
      answer += part as string;
      if (answer.length > answerCharsMax) throw new Error(`an answer of more than ${answerCharsMax} characters`);
    }
    return answer;
  } catch (error) {
    throw new HaproxyError(`${command}: ${(error as Error).message}`, { cause: error, answered: false });
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** Two checks that fail, 200 ms apart, and a server gets nothing anymore; one that passes, and it does again. */
const checking = 'check inter 200ms fall 2 rise 1 maxconn 500';

/** HAProxy answers in prose, and in none if all is well; when it has something to tell about a server's state it tells that, too. */
const quiet = /^((Server|backend) .*\n?)*$/;

function commandsOf(change: Change): { command: string; answer: RegExp }[] {
  const server = `${change.backend}/${change.name}`;
  switch (change.kind) {
    case 'add':
      return [{ command: `add server ${server} ${change.address}:${change.port} ${checking}`, answer: /New server registered/ }];
    case 'enable':
      return [
        { command: `enable health ${server}`, answer: quiet },
        { command: `set server ${server} state ready`, answer: quiet },
      ];
    case 'disable':
      return [
        { command: `set server ${server} state maint`, answer: quiet },
        ...(change.endRequests ? [{ command: `shutdown sessions server ${server}`, answer: quiet }] : []),
      ];
    case 'remove':
      return [{ command: `del server ${server}`, answer: /Server deleted/ }];
  }
}

/** Of the CSV that `show stat` gives: https://docs.haproxy.org/2.6/management.html#9.1 */
export function parseServers(csv: string): HeldServer[] {
  const [header = '', ...lines] = csv.split('\n').filter((line) => line !== '');
  if (!header.startsWith('# pxname,svname,')) throw new HaproxyError(`show stat: ${header}`, { answered: true });
  const names = fieldsOf(header.slice(2));
  return lines.map((line) => {
    const fields = fieldsOf(line);
    const field = (name: string): string => fields[names.indexOf(name)] ?? '';
    const [address = '', port] = field('addr').split(':');
    return {
      ...{ backend: field('pxname'), name: field('svname'), address, port: Number(port) },
      state: stateOf(field('status')),
      draining: field('check_code') === '503',
      requests: Number(field('scur')),
    };
  });
}

/** `UP`, `UP 1/2` when the last check failed, `DOWN`, `MAINT`, and more of the kind. */
function stateOf(status: string): HeldServer['state'] {
  if (status.startsWith('MAINT')) return 'maintenance';
  return status.startsWith('UP') || status === 'no check' ? 'up' : 'down';
}

/** A field with commas or quotation marks stands in quotation marks, and those in it are doubled. */
function fieldsOf(line: string): string[] {
  return [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map(([, field]) => field!);
}
