/** How a request comes to whoever carries it out: at the role that it is for, from somebody whose token is good. */
import { operations, type Kind, type KindTo, type Replies, type Request, type Role } from '../messages.ts';
import { Refusal } from './refusal.ts';
import type { Tokens } from './tokens.ts';

/** A request and what it came with. */
export interface Asked<K extends Kind = Kind> {
  readonly request: Request<K>;
  /** On the role's clock. */
  readonly deadline: number;
  /** The address that it came from. */
  readonly peer: string;
}

/** The same, when it is known who asks. */
export interface Call<K extends Kind = Kind> extends Asked<K> {
  /** The session, or node, that the token is of; empty where anybody may ask. Whether a session was closed since, only the database knows. */
  readonly asker: string;
}

/** One for each request to a role. */
export type Handlers<R extends Role> = { readonly [K in KindTo<R>]: (call: Call<K>) => Promise<Replies[K]> };

/** Throws the refusal of what is for another role, or from nobody with a good token. */
export function callOf<K extends Kind>(asked: Asked<K>, role: Role, tokens: Tokens): Call<K> {
  const { request } = asked as Asked;
  const { to, by } = operations[request.kind];
  const named = { agent: 'an agent', node: 'a node' };
  if (to !== role) throw new Refusal('malformed', `${request.kind} is for ${named[to]}, and this is ${named[role]}`);
  const asker = 'token' in request ? tokens.check(by === 'node' ? 'node' : 'session', request.token) : '';
  return { ...asked, asker };
}

/** Resolves with what the reply holds; throws the refusal. */
export function answerer<R extends Role>(role: R, tokens: Tokens, handlers: Handlers<R>): (asked: Asked) => Promise<object> {
  return async (asked) => {
    const call = callOf(asked, role, tokens);
    const handler = handlers[call.request.kind as KindTo<R>] as (call: Call) => Promise<object>;
    return handler(call);
  };
}
