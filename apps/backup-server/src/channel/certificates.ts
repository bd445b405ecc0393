/** Makes the certificates that tls.ts reads: one authority, and key and certificate of each identity. */
import 'reflect-metadata'; // must be evaluated before @peculiar/x509
import { createPrivateKey, KeyObject, webcrypto, X509Certificate as ParsedCertificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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
import { nodeIdentity, parseIdentity, roleIdentities } from './tls.ts';

export interface CertificatesOptions {
  /** Made with mode 0700 when missing. */
  directory: string;
  /** Of nodes: 1 to 64 letters, digits, '.', '_' or '-' each. */
  names: readonly string[];
  /** When they begin to be valid; default now. */
  now?: Date;
}

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' };
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };
const validYears = 10;
/** Certificates begin this much early, for machines whose clocks are behind. */
const clockSkewMs = 60 * 60_000;

/**
 * Makes the authority, if there is none yet, and key and certificate of each identity that has no files yet; resolves with
 * those identities. What is there already is neither changed nor overwritten. Rejects with an ExitError that names the file
 * where a file lacks the other that belongs to it.
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

/**
 * Whether key and certificate are there. One without the other is an error: both belong to one key, and neither is overwritten.
 */
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
