/** Everything runs on Node 24, which runs TypeScript as it is. An older one would stop at the first `.ts` file with a riddle: ERR_UNKNOWN_FILE_EXTENSION. */
if (Number.parseInt(process.versions.node) < 24) {
  console.error(
    `This is Node ${process.versions.node}; the lab kit runs on Node 24. On Linux \`npm ci\` brings it for \`npm run\` and \`npx\`; elsewhere install it.`,
  );
  process.exit(1);
}
