// `npm run bench`: sets up a fresh machine, bundles the benchmark (it is TypeScript) and runs it.
import { setUp } from "../../host/setup.mjs";

setUp("npm run bench");

const { bundle } = await import("../bundle.mjs");
const bundled = await bundle(import.meta.dirname, ["main", "engine", "client"]);
const engine = process.argv[2] === "engine";
if (engine) process.argv.splice(2, 1);
await import(bundled(engine ? "engine" : "main"));
