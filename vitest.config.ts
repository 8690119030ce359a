import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["bazel-cache-tools/**/*.test.ts", "host/**/*.test.ts", "guest/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["**/node_modules/**"],
    globalSetup: ["test/setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 180_000,
    // Each file starts Envoys of its own; two cores carry two files.
    maxWorkers: 2,
  },
});
