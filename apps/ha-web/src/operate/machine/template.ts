/** Configuration files of other people's programs, with few variables. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';
import { dirname, join } from 'node:path';

/** Where the app keeps its templates. */
const deployFolder = join(import.meta.dirname, '../../../deploy');

/** Puts in the values of all variables, `${NAME}`; one that has none is an error, and so is a value with room for more than a word. */
export function render(template: string, values: Readonly<Record<string, string>>): string {
  return template.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`the template has a variable ${name}, for which there is no value`);
    if (!/^[\w.:/-]+$/.test(value))
      throw new Error(`the template's variable ${name} must be one word, not ${JSON.stringify(value)}`);
    return value;
  });
}

/** Writes a template of the folder deploy, with its values, to where its program looks for it. */
export async function renderFile(template: string, target: string, values: Readonly<Record<string, string>>): Promise<void> {
  const text = render(await readFile(join(deployFolder, template), 'utf8'), values);
  await mkdir(dirname(target), { recursive: true });
  // keepalived takes no commands from a file that others may write.
  await writeFile(target, text, { mode: 0o644 });
}

type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/** The name of the interface that has an address; it is another one after a network was disconnected and connected again. */
export function interfaceOf(address: string, interfaces: Interfaces = networkInterfaces()): string | undefined {
  return Object.entries(interfaces).find(([, infos]) => infos?.some((info) => info.address === address))?.[0];
}
