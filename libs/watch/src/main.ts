/** `npx nx look APP` runs this in the app's folder. */
import { watchProgram } from './program.ts';

const { argv, env, stdout, stderr } = process;
process.exitCode = await watchProgram({
  args: argv.slice(2),
  env,
  stdout: (text) => void stdout.write(text),
  stderr: (text) => void stderr.write(text),
});
