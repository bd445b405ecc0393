import { expect, it } from 'vitest';
import { Tokens } from './tokens.ts';

const refusal = expect.objectContaining({ name: 'Refusal', code: 'unauthenticated' }) as Error;

it('a token is good for who has the key, of its kind, until it expires, and as it was signed', () => {
  let nowMs = 0;
  const tokens = new Tokens(Buffer.alloc(32, 1), () => nowMs);
  const token = tokens.sign({ kind: 'session', id: 'one', expiresMs: 10 });
  expect(tokens.check('session', token)).toBe('one');
  expect(() => tokens.check('node', token)).toThrow(refusal);

  const strangers = new Tokens(Buffer.alloc(32, 2), () => nowMs);
  expect(() => tokens.check('session', strangers.sign({ kind: 'session', id: 'one', expiresMs: 10 }))).toThrow(refusal);
  const [, signature] = token.split('.');
  const payload = Buffer.from(JSON.stringify({ kind: 'session', id: 'two', expiresMs: 10 })).toString('base64url');
  for (const forged of [`${payload}.${signature}`, `${payload}.`, payload, `${token}=`, `${token}.${signature}`])
    expect(() => tokens.check('session', forged)).toThrow(refusal);

  nowMs = 10;
  expect(() => tokens.check('session', token)).toThrow(refusal);
});
