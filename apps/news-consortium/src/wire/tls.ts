/** TLS between clients, agents and nodes. All roles of a system show one certificate, and whoever asks them trusts that one alone. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext, type ConnectionOptions, type TlsOptions } from 'node:tls';
import { ExitError, exitCodes, splitAddress } from '@lab/process';
import { connectFramed, ConnectionClosedError, HandshakeError } from '@lab/protocol';
import type { Ask } from './asking.ts';

const minVersion = 'TLSv1.3';

/** What a role shows, and what it trusts when it asks others. */
export interface RoleTls {
  readonly shown: TlsOptions;
  readonly trusted: ConnectionOptions;
}

export interface TlsSettings {
  readonly tlsKey?: string | undefined;
  readonly tlsCertificate?: string | undefined;
}

/** Undefined without settings; throws an `ExitError` for one without the other, and for what is no key of that certificate. */
export function roleTls({ tlsKey, tlsCertificate }: TlsSettings): RoleTls | undefined {
  if (tlsKey === undefined && tlsCertificate === undefined) return undefined;
  if (tlsKey === undefined || tlsCertificate === undefined)
    throw new ExitError('TLS_KEY and TLS_CERTIFICATE go together', exitCodes.usage);
  const shown = { key: tlsKey, cert: tlsCertificate, minVersion } as const;
  const trusted = trustOf(tlsCertificate, 'TLS_CERTIFICATE');
  try {
    createSecureContext(shown);
  } catch (cause) {
    throw new ExitError(`TLS_KEY is not the key of TLS_CERTIFICATE: ${(cause as Error).message}`, exitCodes.usage, { cause });
  }
  return { shown, trusted };
}

/**
 * Trusts who shows this certificate and has its key, at whatever address: agents and nodes come and go, under names and addresses that nobody knows before,
 * and the database decides who is one of them. A certificate that this one has signed is another one. Throws an `ExitError` that names the source of what is none.
 */
export function trustOf(certificate: string, source: string): ConnectionOptions {
  try {
    const { raw } = new X509Certificate(certificate);
    return {
      secureContext: createSecureContext({ ca: certificate, minVersion }),
      checkServerIdentity: (_, shown) =>
        shown.raw.equals(raw) ? undefined : Object.assign(new Error(), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' }),
    };
  } catch (cause) {
    throw new ExitError(`${source} holds no certificate in PEM: ${(cause as Error).message}`, exitCodes.usage, { cause });
  }
}

/** The same, over TLS; without trust, as it is. */
export const askOver = (ask: Ask, tls: ConnectionOptions | undefined): Ask =>
  tls === undefined ? ask : (address, kind, body, options) => ask(address, kind, body, { ...options, tls });

/** Asks without TLS. A peer that takes nothing else closes such a connection without a word: that is told from one that died by a handshake. */
export function askPlainly(ask: Ask): Ask {
  return async (address, kind, body, options) => {
    try {
      return await ask(address, kind, body, options);
    } catch (cause) {
      if (!(cause instanceof ConnectionClosedError) || !(await speaksTls(address))) throw cause;
      throw new HandshakeError(address, 'it speaks TLS: give its certificate with --ca', { cause });
    }
  };
}

async function speaksTls(address: string): Promise<boolean> {
  const tls = { rejectUnauthorized: false };
  const socket = await connectFramed({ ...splitAddress(address), tls, connectTimeoutMs: 500 }).catch(() => undefined);
  socket?.destroy();
  return socket !== undefined;
}
