// `npm run bench`: sets up a fresh machine, bundles the benchmark (it is TypeScript) and runs it.
import { setUp } from "../../host/setup.mjs";

setUp("npm run bench");

const { bundle } = await import("../bundle.mjs");
const bundled = await bundle(import.meta.dirname, ["main", "engine", "cache", "client"]);
const named = ["engine", "cache"].find((name) => name === process.argv[2]);
if (named) process.argv.splice(2, 1);
if (named === "cache") await import("../../bazel-cache-tools/build.mjs");
await import(bundled(named ?? "main"));
