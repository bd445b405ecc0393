/** Services of others that the marketplace uses. Each may be slow or away; none is asked within a transaction. */

export interface Maps {
  /** A picture (SVG) of where something is, in degrees north and east. */
  picture(latitude: number, longitude: number): Promise<string>;
}

export interface SignIn {
  /** Who the service says that a token of its own stands for, by a name that no other has; `undefined`: it knows no such token. */
  identify(token: string): Promise<string | undefined>;
}

export interface Payment {
  /**
   * Takes the money. The same key MUST NOT be charged twice, however often it is asked for; another key is another order. A key is never given twice. The
   * number of an order may be: a forced takeover or a restore loses orders, and their numbers are given again. Under its number, the second would count as paid.
   */
  charge(key: string, cents: number): Promise<'paid' | 'declined'>;
}

export interface Carrier {
  /** Whether an order that was paid at that time has left by now. */
  hasShipped(paidAt: Date): Promise<boolean>;
}

export interface Services {
  maps: Maps;
  signIn: SignIn;
  payment: Payment;
  carrier: Carrier;
  /** What users are to know of these services, a sentence each. */
  notices: readonly string[];
}
