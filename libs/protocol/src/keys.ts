/**
 * TLS 1.3 by keys that both sides were given before (RFC 8446, section 2.2; RFC 9258), in place of certificates. The handshake shows each side that the other
 * has the key, and does not say it. A fresh exchange of Diffie and Hellman goes into it, so that who learns the key later cannot read what was recorded.
 */
import { createHmac } from 'node:crypto';
import type { ConnectionOptions, TlsOptions } from 'node:tls';

/** Keys are bound to SHA-256. */
const common = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' } as const;

/** 32 bytes: the key of an identity, which who has the master key can make again. Of it alone nobody can make another. */
export const identityKey = (master: Uint8Array, identity: string): Buffer =>
  createHmac('sha256', master).update(`lab identity 1\0${identity}`).digest();

export interface ClientKey {
  /** Whose key it is; the other side hears it in the clear. At most 255 bytes. */
  identity: string;
  /** 32 random bytes, or of `identityKey`. */
  key: Uint8Array;
  /** What is spoken, with its version: `lab-backup/2`. Both sides have to mean the same. */
  protocol: string;
}

/** For `connectFramed`, which then rejects with an `AuthenticationError` where the other side has not this key. */
export const tlsByKey = ({ identity, key, protocol }: ClientKey): ConnectionOptions => ({
  ...common,
  ALPNProtocols: [protocol],
  pskCallback: () => ({ identity, psk: key }),
  // Good or not, it is not what was asked for: anybody can have one.
  checkServerIdentity: (_, shown) =>
    Object.keys(shown ?? {}).length === 0
      ? undefined
      : Object.assign(new Error(certificate), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' }),
});

export interface ServerKeys {
  /** The key of who says to be this; `undefined` for who has none here. */
  keyOf: (identity: string) => Uint8Array | undefined;
  /** As in `ClientKey`. */
  protocol: string;
}

const identities = new WeakMap<object, string>();

/** For `listenFramed`, which then takes only those who have shown their key. Who they are says `identityOf`. */
export const tlsByKeys = ({ keyOf, protocol }: ServerKeys): TlsOptions => ({
  ...common,
  ALPNProtocols: [protocol],
  pskCallback(socket, identity) {
    identities.set(socket, identity);
    return keyOf(identity) ?? null;
  },
});

/** Who is at the other end of a connection that was taken by `tlsByKeys`; its `stream`. */
export const identityOf = (stream: object): string | undefined => identities.get(stream);

const certificate = 'it shows a certificate, not the key';
/** What a handshake fails of for good, as OpenSSL calls it: on the client's side, then on the server's. */
const reasons: Readonly<Record<string, string>> = {
  ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR: 'wrong key: the other side has another one for this name',
  'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE': 'the other side has no key for this name',
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: 'the other side speaks another version of the protocol',
  ERR_SSL_WRONG_VERSION_NUMBER: 'what answers there does not speak TLS',
  DEPTH_ZERO_SELF_SIGNED_CERT: certificate,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: certificate,
  ERR_TLS_CERT_ALTNAME_INVALID: certificate,
  ERR_SSL_BINDER_DOES_NOT_VERIFY: 'wrong key',
  ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM: 'no key, or one of a name that has none here',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'another version of the protocol',
};

/** Why another try is in vain as long as both sides are what they are; `undefined` of what may pass. */
export const refusalOf = ({ code = '' }: NodeJS.ErrnoException): string | undefined => reasons[code];

/** What an error of a connection says to a person: OpenSSL's own text has its thread, its file and its numbers. */
export function wordsOf(error: NodeJS.ErrnoException & { library?: string; reason?: string }): string {
  const { code, library, message, reason = code } = error;
  return refusalOf(error) ?? (library === undefined ? message || String(code) : `TLS has failed: ${reason}`);
}
