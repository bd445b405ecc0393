import tseslint from 'typescript-eslint';

/** Rules about code. What of the workspace may import what is beside them, in eslint.config.js. */
export default tseslint.config(
  { ignores: ['**/node_modules/**', '.nx/**', '**/tmp/**'] },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: `${import.meta.dirname}/..` } },
    rules: {
      // `{ current, ...task }` is how a field is left out.
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // A handler may be async or not: the port says "void or a promise of it".
      '@typescript-eslint/require-await': 'off',
    },
  },
);
