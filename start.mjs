// `npm start`: needs nothing installed but Node and python3. Installs the packages, builds the command line, and runs the demonstration.
import { cli, handOver, setUp } from "./host/setup.mjs";

setUp("npm start");
handOver([cli, "demo", ...process.argv.slice(2)]);
