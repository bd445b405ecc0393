/** The floating address of the databases, as this machine has it: keepalived's work, looked at from outside, for keepalived may be what hangs. */
import { networkInterfaces } from 'node:os';
import { interfaceOf } from '../operate/machine/template.ts';
import { run } from './command.ts';

const commandMs = 5_000;

export class FloatingAddress {
  readonly #address: string;

  constructor(address: string) {
    this.#address = address;
  }

  get isHere(): boolean {
    return this.#interface !== undefined;
  }

  get #interface(): string | undefined {
    return interfaceOf(this.#address, networkInterfaces());
  }

  /** Takes it away, and keepalived with it, which is started again and finds the network as it is now. */
  async reset(): Promise<void> {
    const device = this.#interface;
    // Neither may be there anymore.
    await run('pkill', ['-9', '-x', 'keepalived'], commandMs).catch(() => undefined);
    if (device !== undefined)
      await run('ip', ['address', 'del', `${this.#address}/24`, 'dev', device], commandMs).catch(() => undefined);
  }
}
