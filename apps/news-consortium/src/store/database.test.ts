import { expect, it } from 'vitest';
import { placesOf } from './database.ts';

it.each([
  ['postgres://a:b@one:1,two:2/c', ['postgres://a:b@one:1/c', 'postgres://a:b@two:2/c']],
  ['postgres://a:%40%2F@[::1]:1/c', ['postgres://a:%40%2F@[::1]:1/c']],
  ['postgres://a:b@one:port/c', undefined],
  ['mysql://a:b@one/c', undefined],
])('%s names each host of a database, or none', (text, places) => expect(placesOf(text)).toEqual(places));
