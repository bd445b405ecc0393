/** What every view needs. */
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Account, OrderRequest } from '../messages.ts';
import type { Client } from './client.ts';

export interface Shop {
  client: Client;
  account: Account | undefined;
  setAccount(account: Account | null): void;
  /** What a view shows; what goes wrong is told, and gives `undefined`. */
  load<T>(path: string): Promise<T | undefined>;
  /** Runs what a person has asked for: whatever was told before is out of date. What goes wrong is told, and gives `undefined`. */
  run<T>(work: () => Promise<T>): Promise<T | undefined>;
  /** Shows a sentence, and has it read out. */
  tell(text: string): void;
  placeOrder(order: OrderRequest): void;
  isOrdering: boolean;
}

export const ShopContext = createContext<Shop>(undefined as unknown as Shop);
export const useShop = (): Shop => useContext(ShopContext);

export const euros = (cents: number): string => `€ ${(cents / 100).toFixed(2)}`;
