/** `npx nx look APP` runs this in the app's folder: files are named from there, as those that `simulate` writes. */
import { watchProgram } from './program.ts';

const { argv, env, stdout, stderr } = process;
process.exitCode = await watchProgram({
  args: argv.slice(2),
  env,
  stdout: (text) => void stdout.write(text),
  stderr: (text) => void stderr.write(text),
});
