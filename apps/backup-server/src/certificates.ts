/**
 * Who is who on the wire: one authority, a certificate for each identity, and TLS 1.3 where both sides show theirs. A certificate names an identity
 * and no host, so roles may move between machines.
 *
 * An identity is `server`, `requester`, `admin` or `node-<name>`, as its files are called. Its certificate says `CN=node:<name>` for a node, else
 * the identity itself; where an identity is an argument, both spellings mean the same. `ca.key` can make any identity: keep it off the machines
 * that run roles.
 */
import 'reflect-metadata'; // must be evaluated before @peculiar/x509
import { createPrivateKey, KeyObject, webcrypto, X509Certificate as ParsedCertificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { ExitError, exitCodes } from '@lab/process';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

export interface CertificatesOptions {
  /** Made with mode 0700 when missing. */
  directory: string;
  /** Of nodes: 1 to 64 letters, digits, '.', '_' or '-' each. */
  names: readonly string[];
  /** When they begin to be valid; default now. */
  now?: Date;
}

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

const roleIdentities = ['server', 'requester', 'admin'];
const nodeNamePattern = /^[A-Za-z0-9._-]{1,64}$/;
const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' };
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };
const validYears = 10;
/** Certificates begin this much early, for machines whose clocks are behind. */
const clockSkewMs = 60 * 60_000;

/**
 * Makes the authority, if there is none yet, and key and certificate of each identity that has no files yet; resolves with those identities. What is
 * there already is neither changed nor overwritten. Rejects with an ExitError that names the file where a file lacks the other that belongs to it.
 */
export async function makeCertificates({ directory, names, now = new Date() }: CertificatesOptions): Promise<string[]> {
  const identities = [...new Set([...roleIdentities, ...names.map(nodeIdentity)])];
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const made = identities.filter((identity) => !pairExists(directory, identity));
  if (made.length === 0) return made;
  const authority = await openAuthority(directory, now);
  for (const identity of made) await makeLeaf({ directory, identity, authority, now });
  return made;
}

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

/** For a server that takes only clients of its authority. Who they are says `peerIdentity`; who may do what is for the server to decide. */
export function serverTls(directory: string, identity: string): ServerTls {
  return { ...loadTls({ directory, identity }), requestCert: true, rejectUnauthorized: true };
}

/**
 * For a client that talks to `expectedPeer` only, wherever that one runs; any other peer is a PeerIdentityError.
 *
 * In TLS 1.3 a client is connected before the server has looked at the client's certificate: that the server refuses it shows as an error or an end
 * at the first read. Node does not check the identity of a resumed session, so a `session` given beside these options must come from the same peer.
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

function nodeIdentity(name: string): string {
  if (!nodeNamePattern.test(name))
    throw new ExitError(
      `${JSON.stringify(name)} is no name of a node: it takes 1 to 64 letters, digits, '.', '_' or '-'`,
      exitCodes.usage,
    );
  return `node-${name}`;
}

/** Refuses what is no identity, so that none leads to a file outside its directory. */
function parseIdentity(identity: string): { file: string; commonName: string } {
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

/** Whether key and certificate are there. One without the other is an error: both belong to one key, and neither is overwritten. */
function pairExists(directory: string, identity: string): boolean {
  const [key, certificate] = [join(directory, `${identity}.key`), join(directory, `${identity}.pem`)];
  const hasKey = existsSync(key);
  if (hasKey === existsSync(certificate)) return hasKey;
  const [present, absent] = hasKey ? [key, certificate] : [certificate, key];
  throw new ExitError(
    `"${present}" is there without "${absent}", and nothing is overwritten; put the missing file back, or remove the other and try again`,
    exitCodes.usage,
  );
}

interface Authority {
  certificate: X509Certificate;
  key: webcrypto.CryptoKey;
}

async function openAuthority(directory: string, now: Date): Promise<Authority> {
  if (pairExists(directory, 'ca')) return readAuthority(directory);
  const signed = (await readdir(directory)).find((name) => /\.(pem|key)$/.test(name));
  if (signed !== undefined)
    throw new ExitError(
      `"${join(directory, signed)}" is there without its authority; put ca.pem and ca.key back, or name an empty directory`,
      exitCodes.usage,
    );
  return makeAuthority(directory, now);
}

async function readAuthority(directory: string): Promise<Authority> {
  const [keyPath, certificatePath] = [join(directory, 'ca.key'), join(directory, 'ca.pem')];
  const [keyPem, certificatePem] = [await readFile(keyPath), await readFile(certificatePath)];
  try {
    const key = createPrivateKey(keyPem);
    if (!new ParsedCertificate(certificatePem).checkPrivateKey(key)) throw new Error('they belong to two authorities');
    const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
    return {
      certificate: new X509Certificate(certificatePem.toString()),
      key: await webcrypto.subtle.importKey('pkcs8', pkcs8, keyAlgorithm, false, ['sign']),
    };
  } catch (error) {
    throw new ExitError(
      `"${keyPath}" is no key of the authority in "${certificatePath}": ${(error as Error).message}; put the right files back`,
      exitCodes.usage,
      { cause: error },
    );
  }
}

async function makeAuthority(directory: string, now: Date): Promise<Authority> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: [{ CN: ['lab-backup authority'] }],
    keys,
    signingAlgorithm,
    ...validity(now),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      // Two authorities have one name: by the key's identifier a wrong one is told from a forged signature.
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await writePair(directory, 'ca', keys.privateKey, certificate);
  return { certificate, key: keys.privateKey };
}

interface LeafParts {
  directory: string;
  identity: string;
  authority: Authority;
  now: Date;
}

async function makeLeaf({ directory, identity, authority, now }: LeafParts): Promise<void> {
  const { commonName } = parseIdentity(identity);
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.create({
    subject: [{ CN: [commonName] }],
    issuer: authority.certificate.subjectName,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    signingAlgorithm,
    ...validity(now),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      new SubjectAlternativeNameExtension([{ type: 'url', value: `lab-backup:${commonName}` }]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey),
    ],
  });
  await writePair(directory, identity, keys.privateKey, certificate);
}

const newKeys = (): Promise<webcrypto.CryptoKeyPair> => webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);

function validity(now: Date): { notBefore: Date; notAfter: Date } {
  const notAfter = new Date(now);
  notAfter.setUTCFullYear(now.getUTCFullYear() + validYears);
  return { notBefore: new Date(now.getTime() - clockSkewMs), notAfter };
}

async function writePair(directory: string, name: string, key: webcrypto.CryptoKey, certificate: X509Certificate): Promise<void> {
  await writeNew(join(directory, `${name}.key`), KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }), 0o600);
  await writeNew(join(directory, `${name}.pem`), `${certificate.toString('pem')}\n`, 0o644);
}

async function writeNew(path: string, content: string | Buffer, mode: number): Promise<void> {
  try {
    await writeFile(path, content, { flag: 'wx', mode });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new ExitError(`"${path}" has come to be meanwhile and is not overwritten; try again`, exitCodes.failed, {
      cause: error,
    });
  }
}
