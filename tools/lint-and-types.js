/**
 * ESLint's configuration with the compiler's findings among its own: `eslint --config tools/lint-and-types.js .`. Rules that know types need what the
 * compiler needs, and asking it for its findings as well costs a tenth of a run of its own.
 */
import ts from 'typescript';
import lint from '../eslint.config.js';

const neverRead = 6133;

/** @type {import('eslint').Rule.RuleModule} */
const compiles = {
  create: (context) => ({
    Program() {
      const { program } = context.sourceCode.parserServices;
      const file = program.getSourceFile(context.filename);
      const findings = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
      // Beside errors there are hints for editors; and what is never read, ESLint has a rule for.
      const errors = findings.filter(({ category, code }) => category === ts.DiagnosticCategory.Error && code !== neverRead);
      for (const { start, messageText, code } of errors) {
        const { line, character } = file.getLineAndCharacterOfPosition(start ?? 0);
        const message = `TS${code}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
        context.report({ loc: { line: line + 1, column: character }, message });
      }
    },
  }),
};

export default [
  ...lint,
  { files: ['**/*.ts'], plugins: { typescript: { rules: { compiles } } }, rules: { 'typescript/compiles': 'error' } },
];
