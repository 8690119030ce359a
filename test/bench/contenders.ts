import path from "node:path";
import { build } from "../../host/compiler/index.js";
import { filterEntry } from "../../host/envoy/bootstrap.js";
import { assemble } from "../harness/build.js";
import { LUA, lua, NATIVE } from "./others.js";
import { temporary } from "./workspace.js";

/** `live`: headers with 1,000 paused streams. `loops`: a body gone over 16 times, with and without counting loop turns. */
export type Workload = "headers" | "body" | "callout" | "live" | "loops";
export const WORKLOADS: Workload[] = ["headers", "body", "callout", "live", "loops"];
/** Workloads whose requests are POSTs with a body. */
export const POSTS: ReadonlySet<Workload> = new Set<Workload>(["body", "loops"]);

export interface Contender {
  name: string;
  /** Envoy's http_filters entries before the router. */
  filters: object[];
  /** Size of the module, if there is one. */
  bytes?: number;
  /** It leaves requests and responses as they are: a measure, not a solution. */
  idle: boolean;
}

type Made = Omit<Contender, "name">;

const nothing = (): Made => ({ filters: [], idle: true });
const native = (workload: keyof typeof NATIVE): Made => ({ filters: [NATIVE[workload]], idle: workload === "body" });

/** A second `none`, called control: what is measured between the two is noise. */
const TABLE: Record<Workload, Record<string, () => Made | Promise<Made>>> = {
  headers: {
    none: nothing,
    control: nothing,
    native: () => native("headers"),
    lua: () => ({ filters: [lua(LUA.headers)], idle: false }),
    empty: () => handWritten("empty", true),
    raw: () => handWritten("headers"),
    "raw-pairs": () => handWritten("headers-pairs"),
    linear: () => ours("headers"),
    "low-level": () => ours("headers-low"),
  },
  body: {
    none: nothing,
    control: nothing,
    native: () => native("body"),
    lua: () => ({ filters: [lua(LUA.body)], idle: false }),
    raw: () => handWritten("body"),
    linear: () => ours("body"),
    "low-level": () => ours("body-low"),
  },
  callout: {
    none: nothing,
    control: nothing,
    native: () => native("callout"),
    lua: () => ({ filters: [lua(LUA.callout)], idle: false }),
    raw: () => handWritten("callout"),
    linear: () => ours("callout"),
    "low-level": () => ours("callout-low"),
  },
  live: {
    none: nothing,
    native: () => native("headers"),
    lua: () => ({ filters: [lua(LUA.headers)], idle: false }),
    raw: () => handWritten("headers"),
    linear: () => ours("headers-live"),
    "low-level": () => ours("headers-live-low"),
  },
  loops: {
    none: nothing,
    linear: () => ours("loops"),
    "no-budget": () => ours("loops", 0),
  },
};

export const CONTENDERS: string[] = [...new Set(WORKLOADS.flatMap((workload) => Object.keys(TABLE[workload])))];

/** Builds the contenders of a workload that were chosen; `none` comes first. */
export async function contenders(workload: Workload, chosen: string[] | undefined): Promise<Contender[]> {
  const list: Contender[] = [];
  for (const [name, make] of Object.entries(TABLE[workload])) if (name === "none" || !chosen || chosen.includes(name)) list.push({ name, ...(await make()) });
  return list;
}

function ours(file: string, budget?: number): Made {
  const { wasm } = build([path.join(import.meta.dirname, "filters", `${file}.ts`)], {
    cwd: import.meta.dirname,
    ...(budget === undefined ? {} : { budget }),
  });
  return fromModule(`${file}-${budget ?? "default"}`, wasm, false);
}

async function handWritten(file: string, idle = false): Promise<Made> {
  return fromModule(`raw-${file}`, await assemble(path.join(import.meta.dirname, "raw", `${file}.wat`)), idle);
}

function fromModule(name: string, bytes: Uint8Array, idle: boolean): Made {
  return { filters: [filterEntry({ name: "bench", wasm: temporary(`${name}.wasm`, bytes) })], bytes: bytes.length, idle };
}
