/**
 * Who is who on the wire: one authority, a certificate for each identity, and TLS 1.3 where both sides show theirs. A
 * certificate names an identity and no host, so roles may move between machines.
 *
 * An identity is `server`, `requester`, `admin` or `node-<name>`, as its files are called. Its certificate says
 * `CN=node:<name>` for a node, else the identity itself; where an identity is an argument, both spellings mean the same.
 * `ca.key` can make any identity: keep it off the machines that run roles. certificates.ts makes them.
 */
import { X509Certificate as ParsedCertificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { ExitError, exitCodes } from '@lab/process';

/** What both sides of a connection need, for `connect` and `createServer` of node:tls. */
export interface TlsFiles {
  ca: Buffer;
  cert: Buffer;
  key: Buffer;
  minVersion: 'TLSv1.3';
}
export interface ServerTls extends TlsFiles {
  requestCert: true;
  rejectUnauthorized: true;
}
export interface ClientTls extends TlsFiles {
  rejectUnauthorized: true;
  servername: string;
  checkServerIdentity: (host: string, certificate: PeerCertificate) => Error | undefined;
}

/** The peer's certificate is good but somebody else's. Another try will not help while the same peer answers there. */
export class PeerIdentityError extends Error {
  override readonly name = 'PeerIdentityError';
}

export const roleIdentities = ['server', 'requester', 'admin'];
const nodeNamePattern = /^[A-Za-z0-9._-]{1,64}$/;
/** Reads an identity's files. Throws an ExitError that says how to make those that are missing. */
export function loadTls({ directory, identity }: { directory: string; identity: string }): TlsFiles {
  const { file, commonName } = parseIdentity(identity);
  const read = (name: string) => readOrSayHow(directory, name, file);
  const files = { ca: read('ca.pem'), cert: read(`${file}.pem`), key: read(`${file}.key`), minVersion: 'TLSv1.3' as const };
  // On a file system that ignores case, `node-a.pem` is there when only `node-A.pem` was made.
  const subject = subjectOf(files.cert);
  if (subject !== `CN=${commonName}`)
    throw new ExitError(
      `"${join(directory, `${file}.pem`)}" is ${subject === undefined ? 'no certificate' : `a certificate of "${subject}"`}, ` +
        `not one of "CN=${commonName}"; remove it and make it again, or name another directory`,
      exitCodes.usage,
    );
  return files;
}

/**
 * For a server that takes only clients of its authority. Who they are says `peerIdentity`; who may do what is for the server to
 * decide.
 */
export function serverTls(directory: string, identity: string): ServerTls {
  return { ...loadTls({ directory, identity }), requestCert: true, rejectUnauthorized: true };
}

/**
 * For a client that talks to `expectedPeer` only, wherever that one runs; any other peer is a PeerIdentityError.
 *
 * In TLS 1.3 a client is connected before the server has looked at the client's certificate: that the server refuses it shows
 * as an error or an end at the first read. Node does not check the identity of a resumed session, so a `session` given beside
 * these options must come from the same peer.
 */
export function clientTls(directory: string, identity: string, expectedPeer: string): ClientTls {
  const expected = parseIdentity(expectedPeer).commonName;
  return {
    ...loadTls({ directory, identity }),
    rejectUnauthorized: true,
    // Empty means that none is sent: an IP address may not be one, and no certificate is chosen by it.
    servername: '',
    checkServerIdentity(host, certificate) {
      const actual = commonNameOf(certificate);
      if (actual === expected) return undefined;
      return new PeerIdentityError(`the peer at "${host}" is "${actual ?? 'nobody'}", not "${expected}"; check the address`);
    },
  };
}

/** The common name in the peer's certificate (`node:a`, `admin`), or undefined when it has none that was verified. */
export function peerIdentity(socket: TLSSocket): string | undefined {
  // Null once the socket is destroyed, whatever the types say.
  return socket.authorized ? commonNameOf(socket.getPeerCertificate()) : undefined;
}

function commonNameOf(certificate: PeerCertificate | null): string | undefined {
  // An empty object without a certificate, and an array where there are several names.
  const subject = certificate?.subject as { CN?: string | string[] } | undefined;
  return typeof subject?.CN === 'string' ? subject.CN : undefined;
}

function subjectOf(pem: Buffer): string | undefined {
  try {
    return new ParsedCertificate(pem).subject;
  } catch {
    return undefined;
  }
}

export function nodeIdentity(name: string): string {
  if (!nodeNamePattern.test(name))
    throw new ExitError(
      `${JSON.stringify(name)} is no name of a node: it takes 1 to 64 letters, digits, '.', '_' or '-'`,
      exitCodes.usage,
    );
  return `node-${name}`;
}

/** Refuses what is no identity, so that none leads to a file outside its directory. */
export function parseIdentity(identity: string): { file: string; commonName: string } {
  if (roleIdentities.includes(identity)) return { file: identity, commonName: identity };
  if (!/^node[-:]/.test(identity))
    throw new ExitError(
      `${JSON.stringify(identity)} is no identity: take ${roleIdentities.join(', ')} or node-NAME`,
      exitCodes.usage,
    );
  const name = identity.slice('node-'.length);
  return { file: nodeIdentity(name), commonName: `node:${name}` };
}

function readOrSayHow(directory: string, name: string, identity: string): Buffer {
  const path = join(directory, name);
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const nodes = identity.startsWith('node-') ? identity.slice('node-'.length) : 'a,b';
    throw new ExitError(
      `there is no "${path}"; make it by: main.ts certificates --output ${directory} --nodes ${nodes}`,
      exitCodes.usage,
      { cause: error },
    );
  }
}
