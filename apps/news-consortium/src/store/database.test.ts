import pg from 'pg';
import { expect, it } from 'vitest';
import { placesOf, withPassword } from './database.ts';

it.each([
  ['postgres://a:b@one:1,two:2/c', ['postgres://a:b@one:1/c', 'postgres://a:b@two:2/c']],
  ['postgres://a:%40%2F@[::1]:1/c', ['postgres://a:%40%2F@[::1]:1/c']],
  ['postgres://a:b@one:port/c', undefined],
  ['mysql://a:b@one/c', undefined],
])('%s names each host of a database, or none', (text, places) => expect(placesOf(text)).toEqual(places));

it.each(['postgres://a@one:1,two:2/c', 'postgres://a:old@one:1,two:2/c'])('%s takes any password as it is', (url) => {
  for (const password of ['@/:%?#[]', ' ', '$1$&', 'ä']) {
    for (const connectionString of placesOf(withPassword(url, password))!)
      expect(new pg.Client({ connectionString })).toMatchObject({ user: 'a', password, database: 'c' });
  }
  expect(withPassword(url, undefined)).toBe(url);
});

it('a password of nobody is refused', () => {
  expect(() => withPassword('postgres://one:1/c', 'secret')).toThrow('DATABASE_URL names no user');
});
