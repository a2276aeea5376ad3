// Types are checked, promises are awaited, and each folder imports only what docs/architecture.md allows it.
import tseslint from 'typescript-eslint';
import { createNodeResolver, flatConfigs, importX } from 'eslint-plugin-import-x';

/** Folder → the top-level folders of ours that it may import besides itself. */
const allowed = {
  contract: [],
  client: ['contract'],
  server: ['contract'],
  cli: ['contract', 'client', 'server'],
};
const folders = ['contract', 'client', 'server', 'cli', 'test', 'bench', 'scripts'];

function importRule(folder) {
  const banned = folders.filter((other) => other !== folder && !allowed[folder].includes(other));
  const patterns = [
    { group: banned.map((other) => `**/../${other}/**`), message: `${folder}/ may not import this folder.` },
  ];
  if (folder === 'contract')
    patterns.push({ group: ['node:*', 'fs', 'path', 'vscode'], message: 'contract/ runs anywhere.' });
  return {
    files: [`${folder}/**/*.ts`],
    rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns }] },
  };
}

export default tseslint.config(
  { ignores: ['dist/', '.venv/', '.cache/', 'artifacts/', 'python/', 'examples/'] },
  ...tseslint.configs.recommendedTypeChecked.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    plugins: { 'import-x': importX },
    languageOptions: { parserOptions: { projectService: true } },
    settings: {
      'import-x/resolver-next': [createNodeResolver({ extensions: ['.ts', '.js', '.json'] })],
      'import-x/extensions': ['.ts'],
      ...flatConfigs.typescript.settings,
    },
    rules: {
      'import-x/no-cycle': ['error', { ignoreExternal: true }],
      'import-x/no-default-export': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true, argsIgnorePattern: '^_' }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  ...tseslint.configs.recommended.map((config) => ({ ...config, files: ['**/*.mjs'] })),
  {
    files: ['**/*.mjs'],
    languageOptions: {
      globals: {
        URL: 'readonly',
        process: 'readonly',
        performance: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
        setInterval: 'readonly',
        clearInterval: 'readonly',
      },
    },
    rules: { 'no-undef': 'error', eqeqeq: ['error', 'always', { null: 'ignore' }] },
  },
  ...Object.keys(allowed).map(importRule),
);
