import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['**/node_modules/**', '.nx/**', 'tmp/**'] },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    plugins: { '@nx': nx },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // `{ current, ...task }` is how a field is left out.
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // A handler may be async or not: the port says "void or a promise of it".
      '@typescript-eslint/require-await': 'off',
      '@nx/enforce-module-boundaries': [
        'error',
        {
          // docker/ is no package: the images' names stand there once, for tests and compose files alike.
          allow: ['^(\\.\\./)+docker/(images|compose|engine)\\.ts$'],
          depConstraints: [
            { sourceTag: 'type:app', onlyDependOnLibsWithTags: ['type:lib'] },
            { sourceTag: 'type:lib', onlyDependOnLibsWithTags: ['type:lib'] },
            // The three below all others know nothing of each other; their tests may use the test tools, which know none of them.
            { sourceTag: 'layer:base', onlyDependOnLibsWithTags: ['layer:testing'] },
            { sourceTag: 'layer:testing', onlyDependOnLibsWithTags: [] },
          ],
        },
      ],
    },
  },
);
