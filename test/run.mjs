// `npm test`: sets up a fresh machine (packages, command line; Envoy is fetched by vitest's global set-up), then runs vitest with the arguments given.
import path from "node:path";
import { handOver, root, setUp } from "../host/setup.mjs";

setUp("npm test");
handOver([path.join(root, "node_modules", "vitest", "vitest.mjs"), "run", ...process.argv.slice(2)]);
