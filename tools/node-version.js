/** Everything runs on Node 24, which runs TypeScript as it is; `problem` is a sentence where this is an older one. */
const { node: version } = process.versions;

export const problem =
  Number.parseInt(version) < 24
    ? `This is Node ${version}; the lab kit runs on Node 24. On Linux \`npm ci\` brings it for \`npm run\` and \`npx\`; elsewhere install it.`
    : undefined;
