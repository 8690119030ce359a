// What `npm run bench -- …` can be told.
import { parseArgs } from "node:util";
import { CONTENDERS, WORKLOADS, type Workload } from "./contenders.js";

export interface Options {
  rounds: number;
  /** Seconds of load per contender and round. */
  seconds: number;
  workloads: Workload[];
  /** Sizes of modules and times of builds. */
  modules: boolean;
  /** undefined: all. `none` is always among them: costs are differences to it. */
  contenders: string[] | undefined;
  load: "wrk" | "node" | undefined;
  json: boolean;
}

const HELP = `npm run bench -- [options]
npm run bench engine          the Node engine: mount, envoy.fetch, and its proxy beside a real Envoy
npm run bench cache           bazel-cache: hashing beside openssl, 10,000 entries, start-up

  --rounds N           rounds; in each all contenders run together     (12)
  --seconds S          whole seconds of load per contender and round    (3)
  --only a,b           of ${WORKLOADS.join(", ")}, modules       (all)
  --contenders a,b     of ${CONTENDERS.join(", ")}
                       (all; none is always measured)
  --load wrk|node      what makes the load                              (wrk where it is on PATH)
  --json               one JSON document on stdout instead of tables

npm run bench -- --only headers --contenders raw,linear --rounds 2 --seconds 1
npm run --silent bench -- --json > bench.json
`;

/** Ends the process after --help (0) and where the options are wrong (2). */
export function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: "string", default: "12" },
        seconds: { type: "string", default: "3" },
        only: { type: "string" },
        contenders: { type: "string" },
        load: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) {
      process.stdout.write(HELP);
      process.exit(0);
    }
    const only = list("only", values.only, [...WORKLOADS, "modules"]);
    const load = values.load;
    if (load !== undefined && load !== "wrk" && load !== "node") throw new Error(`--load: wrk or node, not "${load}"`);
    return {
      rounds: whole("rounds", values.rounds),
      seconds: whole("seconds", values.seconds),
      workloads: WORKLOADS.filter((workload) => !only || only.includes(workload)),
      modules: !only || only.includes("modules"),
      contenders: list("contenders", values.contenders, CONTENDERS),
      load,
      json: values.json,
    };
  } catch (error) {
    console.error(`npm run bench: ${(error as Error).message.split("\n")[0]}`);
    process.exit(2);
  }
}

function whole(name: string, text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Error(`--${name}: a whole number from 1 to 9999, not "${text}"`);
  return Number(text);
}

function list(name: string, text: string | undefined, known: string[]): string[] | undefined {
  const chosen = text?.split(",").map((entry) => entry.trim());
  const unknown = chosen?.find((entry) => !known.includes(entry));
  if (unknown !== undefined) throw new Error(`--${name}: "${unknown}" is none of ${known.join(", ")}`);
  return chosen;
}
