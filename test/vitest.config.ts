import { defineConfig } from 'vitest/config';

/** One project per folder (src/README.md). KVM and fuzz suites run in forks: a loop there must not hang the runner. */
const project = (name: string, extra: Record<string, unknown> = {}) => ({
  test: { name, root: import.meta.dirname, include: [`${name}/**/*.test.ts`], ...extra },
});

export default defineConfig({
  root: import.meta.dirname,
  test: {
    // Modules are transformed once, not at every start: in the rig that takes ten seconds and more.
    experimental: { fsModuleCache: true },
    projects: [
      // Many small files: a fresh module graph for each would cost more than all the tests.
      project('unit', { isolate: false }),
      // Hooks compile C, with sanitizers, on machines that do other things as well.
      project('conformance', { testTimeout: 60_000, hookTimeout: 60_000 }),
      project('fuzz', { pool: 'forks', testTimeout: 120_000, hookTimeout: 60_000 }),
      project('storage', { testTimeout: 120_000 }),
      project('network', { pool: 'forks', testTimeout: 120_000 }),
      project('guest', { pool: 'forks', testTimeout: 30_000, fileParallelism: false }),
      project('cli', { pool: 'forks', testTimeout: 60_000, hookTimeout: 60_000, fileParallelism: false }),
      project('system', { pool: 'forks', testTimeout: 180_000, fileParallelism: false }),
      project('rig', { pool: 'forks', testTimeout: 300_000, fileParallelism: false }),
    ],
  },
});
