/** What a process shows who it is with: its secret, or its certificates. */
import { readFileSync } from 'node:fs';
import { ExitError, exitCodes } from '@lab/process';
import type { Credentials } from './channel.ts';

/** Less is guessed from a recorded connection in a day. */
const secretBytesMin = 16;

function readSecret(file: string): Buffer {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new ExitError(
      `the secret cannot be read: ${(error as Error).message}. "main.ts secret --output FILE" makes one`,
      exitCodes.usage,
    );
  }
  if (text.length < secretBytesMin)
    throw new ExitError(
      `the secret in ${file} has ${text.length} characters; it must have ${secretBytesMin}. "main.ts secret --output FILE" makes one`,
      exitCodes.usage,
    );
  return Buffer.from(text);
}

/** Reads what shows who we are. Neither or both is an error. */
export function credentialsOf({ secretFile, tls }: { secretFile?: string | undefined; tls?: string | undefined }): Credentials {
  if ((secretFile === undefined) === (tls === undefined))
    throw new ExitError(
      'give --secret-file FILE, or --tls FOLDER, and not both: nobody is trusted without either',
      exitCodes.usage,
    );
  return tls === undefined ? { secret: readSecret(secretFile!) } : { tls };
}
