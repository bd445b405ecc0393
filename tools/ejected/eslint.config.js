import lint from './tools/lint.js';

export default [
  ...lint,
  {
    files: ['**/*.ts'],
    // Some functions are told the name of an app, which is no part of a command here.
    rules: { '@typescript-eslint/no-unused-vars': ['error', { args: 'none', ignoreRestSiblings: true }] },
  },
];
