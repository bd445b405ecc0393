import nx from '@nx/eslint-plugin';
import lint from './tools/lint.js';

export default [
  ...lint,
  {
    files: ['**/*.ts'],
    plugins: { '@nx': nx },
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        {
          // docker/ is no package: the images' names stand there once, for tests and compose files alike.
          allow: ['^(\\.\\./)+docker/(container|images|compose|engine|machines|journal|targets|verbs)\\.ts$'],
          depConstraints: [
            { sourceTag: 'type:app', onlyDependOnLibsWithTags: ['type:lib'] },
            { sourceTag: 'type:workspace', onlyDependOnLibsWithTags: ['layer:process', 'layer:simulation', 'layer:testing'] },
            { sourceTag: 'type:lib', onlyDependOnLibsWithTags: ['type:lib'] },
            // tracing is below all others, and process below the rest; those above it know nothing of each other. Tests use the test tools, which know none of them.
            { sourceTag: 'layer:tracing', onlyDependOnLibsWithTags: ['layer:testing'] },
            { sourceTag: 'layer:process', onlyDependOnLibsWithTags: ['layer:tracing', 'layer:testing'] },
            { sourceTag: 'layer:base', onlyDependOnLibsWithTags: ['layer:process', 'layer:tracing', 'layer:testing'] },
            { sourceTag: 'layer:testing', onlyDependOnLibsWithTags: ['layer:testing'] },
            // Apps and groups are simulated on what they stand on.
            {
              sourceTag: 'layer:simulation',
              onlyDependOnLibsWithTags: ['layer:base', 'layer:process', 'layer:tracing', 'layer:testing'],
            },
          ],
        },
      ],
    },
  },
];
