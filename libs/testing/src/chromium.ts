/** The browser of the tests: Debian's. */
import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';
import { install } from '../../../docker/engine.ts';

const files = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Installed where there is none. */
export async function launchBrowser(): Promise<Browser> {
  const found = (): string | undefined => files.find((file) => existsSync(file));
  if (found() === undefined) await install(['chromium', 'fonts-dejavu-core']);
  // Its sandbox needs what containers do not give; it sees nothing but the page under test, which no proxy knows.
  return chromium.launch({ executablePath: found()!, args: ['--no-sandbox', '--no-proxy-server'] });
}
