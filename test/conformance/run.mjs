// `npm run conformance` and `npm run conformance:record`: sets up a fresh machine, bundles the replay or the recorder (they are TypeScript) and runs it.
import { setUp } from "../../host/setup.mjs";

const record = process.argv[2] === "record";
setUp(`npm run conformance${record ? ":record" : ""}`);

const { bundle } = await import("../bundle.mjs");
const bundled = await bundle(import.meta.dirname, ["main", "record"]);
if (record) process.argv.splice(2, 1);
await import(bundled(record ? "record" : "main"));
