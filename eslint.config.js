import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['**/node_modules/**', '.nx/**', '**/tmp/**'] },
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
          allow: ['^(\\.\\./)+docker/(container|images|compose|engine|machines)\\.ts$'],
          depConstraints: [
            { sourceTag: 'type:app', onlyDependOnLibsWithTags: ['type:lib'] },
            { sourceTag: 'type:workspace', onlyDependOnLibsWithTags: ['layer:testing'] },
            { sourceTag: 'type:lib', onlyDependOnLibsWithTags: ['type:lib'] },
            // process is below all others; those above it know nothing of each other. Tests use the test tools, which know none of them.
            { sourceTag: 'layer:process', onlyDependOnLibsWithTags: ['layer:testing'] },
            { sourceTag: 'layer:base', onlyDependOnLibsWithTags: ['layer:process', 'layer:testing'] },
            { sourceTag: 'layer:testing', onlyDependOnLibsWithTags: ['layer:testing'] },
            // Apps and groups are simulated on what they stand on.
            { sourceTag: 'layer:simulation', onlyDependOnLibsWithTags: ['layer:base', 'layer:process', 'layer:testing'] },
          ],
        },
      ],
    },
  },
);
