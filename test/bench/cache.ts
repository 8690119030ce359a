// `npm run bench cache`: what bazel-cache costs. Hashing beside `openssl dgst`, run in turns; a doctor over 10,000 entries; the start of the command line.

import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, utimesSync, writeFileSync, writeSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { median, ratio } from "./statistics.js";

const HELP = `npm run bench cache -- [options]

  --rounds N     rounds in which all contenders take turns     (5)
  --size MB      of the large file                             (2048)
  --json         one JSON document on stdout instead of a table
`;

const ROOT = path.resolve(import.meta.dirname, "../..");
const CLI = path.join(ROOT, "bazel-cache-tools/dist/bazel-cache.mjs");
const ENTRIES = 10_000;
const MB = 1024 * 1024;

interface Run {
  /** Seconds. */
  wall: number;
  cpu: number;
  /** Bytes. */
  peak: number;
}

const ticksPerSecond = 100;

/** CPU seconds of all children that have ended so far. */
function childrenCpu(): number {
  const stat = readFileSync("/proc/self/stat", "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond;
}

function peakOf(child: ChildProcess): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

async function measure(command: string[], expected = 0): Promise<Run> {
  const before = childrenCpu();
  const start = performance.now();
  const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, NO_COLOR: "1" } });
  let errors = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  let peak = 0;
  const watch = setInterval(() => {
    peak = Math.max(peak, peakOf(child));
  }, 10);
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  clearInterval(watch);
  const wall = (performance.now() - start) / 1000;
  if (code !== expected) throw new Error(`${command.slice(0, 4).join(" ")} ended with ${code}: ${errors.trim().split("\n")[0]}`);
  return { wall, cpu: childrenCpu() - before, peak };
}

const bazelCache = (...args: string[]) => [process.execPath, CLI, ...args];

function makeFile(file: string, megabytes: number): string {
  const piece = randomBytes(16 * MB);
  const hash = createHash("sha256");
  const descriptor = openSync(file, "w");
  for (let written = 0; written < megabytes; written += 16) {
    const part = piece.subarray(0, Math.min(16, megabytes - written) * MB);
    writeSync(descriptor, part);
    hash.update(part);
  }
  closeSync(descriptor);
  utimesSync(file, 1_600_000_000, 1_600_000_000);
  return hash.digest("hex");
}

/** A workspace of 10,000 downloads, all of them in the cache with their markers, as a table and as a list. */
function makeMany(directory: string, cache: string): { table: string; list: string } {
  const rows: string[] = [];
  const list: object[] = [];
  for (let i = 0; i < ENTRIES; i++) {
    const content = `content ${i}\n`.repeat(100);
    const sha256 = createHash("sha256").update(content).digest("hex");
    const url = `https://x.invalid/${i}/archive.tar.gz`;
    const entry = path.join(cache, "content_addressable/sha256", sha256);
    mkdirSync(entry, { recursive: true });
    writeFileSync(path.join(entry, "file"), content);
    writeFileSync(path.join(entry, `id-${createHash("sha256").update(url).digest("hex")}`), "");
    rows.push(`    dep_${i} = dict(version = "${i}", sha256 = "${sha256}", urls = ["https://x.invalid/{version}/archive.tar.gz"]),`);
    list.push({ name: `dep_${i}`, urls: [url], sha256 });
  }
  writeFileSync(path.join(directory, "WORKSPACE"), "");
  const table = path.join(directory, "repository_locations.bzl");
  writeFileSync(table, `REPOSITORY_LOCATIONS_SPEC = dict(\n${rows.join("\n")}\n)\n`);
  const json = path.join(directory, "list.json");
  writeFileSync(json, JSON.stringify(list));
  return { table, list: json };
}

interface Row {
  name: string;
  runs: Run[];
}

async function rounds(count: number, contenders: Record<string, (round: number) => string[]>): Promise<Row[]> {
  const rows: Row[] = Object.keys(contenders).map((name) => ({ name, runs: [] }));
  // Round 0 is not counted: the files come into memory.
  for (let round = 0; round <= count; round++) {
    for (const row of rows) {
      const run = await measure(contenders[row.name]!(round));
      if (round > 0) row.runs.push(run);
    }
  }
  return rows;
}

const seconds = (value: number) => `${value.toFixed(2)} s`;
const of = (row: Row, what: keyof Run) => row.runs.map((run) => run[what]);

async function run(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "5" },
      size: { type: "string", default: "2048" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const [count, megabytes] = [values.rounds, values.size].map(Number) as [number, number];
  if (!Number.isInteger(count) || count < 1 || !Number.isInteger(megabytes) || megabytes < 16)
    throw new Error("--rounds: a whole number from 1 on; --size: megabytes from 16 on");
  const directory = mkdtempSync(path.join(tmpdir(), "bazel-cache-bench-"));
  try {
    const large = path.join(directory, "large");
    const sha256 = makeFile(large, megabytes);
    const cacheOf = (name: string) => path.join(directory, name);
    const one = cacheOf("one");
    await measure(bazelCache("seed", large, "--no-workspace", "--cache", one));
    const openssl = "openssl dgst -sha256, one large file";
    const single = await rounds(count, {
      [openssl]: () => ["openssl", "dgst", "-sha256", large],
      "seed, hard link or reflink": (round) => bazelCache("seed", large, "--sha256", sha256, "--no-workspace", "--cache", cacheOf(`seed-${round}`)),
      "doctor --deep": () => bazelCache("doctor", "--deep", "--from-json", emptyList(directory), "--cache", one),
    });
    const files = Array.from({ length: 8 }, (_, i) => path.join(directory, `part-${i}`));
    for (const file of files) makeFile(file, Math.ceil(megabytes / 8));
    const eight = cacheOf("eight");
    await measure(bazelCache("seed", ...files, "--no-workspace", "--cache", eight));
    const opensslMany = "openssl, eight files, one per core";
    const several = await rounds(count, {
      [opensslMany]: () => [
        "sh",
        "-c",
        'n=$1; shift; printf "%s\\n" "$@" | xargs -P "$n" -n 4 openssl dgst -sha256',
        "sh",
        String(Math.min(2, availableParallelism())),
        ...files,
      ],
      "openssl, eight files, one after another": () => ["openssl", "dgst", "-sha256", ...files],
      "seed, eight files": (round) => bazelCache("seed", ...files, "--no-workspace", "--cache", cacheOf(`eight-${round}`)),
      "doctor --deep, eight files": () => bazelCache("doctor", "--deep", "--from-json", emptyList(directory), "--cache", eight),
    });
    const many = cacheOf("many");
    const { table, list } = makeMany(directory, many);
    const doctor = await rounds(count, {
      "doctor, 10,000 entries of a table": () => bazelCache("doctor", table, "--cache", many),
      "doctor, 10,000 entries of a list": () => bazelCache("doctor", "--from-json", list, "--cache", many),
    });
    const start = await rounds(4 * count, {
      "node -e 0": () => [process.execPath, "-e", "0"],
      "bazel-cache --help": () => bazelCache("--help"),
      "bazel-cache where": () => bazelCache("where", "--cache", many),
      "bazel-cache doctor, nothing declared": () => bazelCache("doctor", "--from-json", emptyList(directory), "--cache", one),
    });
    report({ single, several, doctor, start, openssl, opensslMany, json: values.json, megabytes });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function emptyList(directory: string): string {
  const file = path.join(directory, "nothing.json");
  writeFileSync(file, "[]");
  return file;
}

interface Report {
  single: Row[];
  several: Row[];
  doctor: Row[];
  start: Row[];
  openssl: string;
  opensslMany: string;
  json: boolean;
  megabytes: number;
}

function report({ single, several, doctor, start, openssl, opensslMany, json, megabytes }: Report): void {
  const figures = [single, several, doctor, start].flat().map((row) => ({
    name: row.name,
    wall: median(of(row, "wall")),
    cpu: median(of(row, "cpu")),
    peakMB: Math.max(...of(row, "peak")) / MB,
    ...speed(row, single, openssl),
    ...speed(row, several, opensslMany),
  }));
  if (json) return void console.log(JSON.stringify({ megabytes, figures }, null, 2));
  console.log(
    `medians of ${single[0]!.runs.length} rounds; the large file has ${megabytes} MB; speed: CPU time of openssl ÷ CPU time, in the same rounds (90 % range)\n`,
  );
  console.log(`${"".padEnd(40)} ${"wall".padStart(9)} ${"CPU".padStart(9)} ${"memory".padStart(9)}  speed`);
  for (const { name, wall, cpu, peakMB, speed: times, range } of figures) {
    const relative = times === undefined ? "" : `${times.toFixed(2)}${range ? ` (${range[0].toFixed(2)}–${range[1].toFixed(2)})` : ""}`;
    console.log(`${name.padEnd(40)} ${seconds(wall).padStart(9)} ${seconds(cpu).padStart(9)} ${`${peakMB.toFixed(0)} MB`.padStart(9)}  ${relative}`);
  }
  const value = (name: string) => figures.find((f) => f.name === name)!;
  const targets: [string, boolean][] = [
    [
      "seeding and deep verification ≥ 0.9 × openssl",
      [...single, ...several].filter((row) => !row.name.startsWith("openssl")).every((row) => value(row.name).speed! >= 0.9),
    ],
    ["memory ≤ 150 MB with the large file", single.slice(1).every((row) => value(row.name).peakMB <= 150)],
    ["doctor over 10,000 entries ≤ 1 s", doctor.every((row) => value(row.name).wall <= 1)],
    ["start-up ≤ 150 ms", start.slice(1).every((row) => value(row.name).wall <= 0.15)],
  ];
  console.log();
  for (const [target, reached] of targets) console.log(`${reached ? "reached    " : "not reached"}  ${target}`);
}

function speed(row: Row, group: Row[], base: string): { speed?: number; range?: [number, number] } {
  if (!group.includes(row) || row.name === base) return {};
  const { value, range } = ratio(of(group.find((r) => r.name === base)!, "cpu"), of(row, "cpu"));
  return { speed: value, ...(range ? { range } : {}) };
}

try {
  await run();
} catch (error) {
  console.error(`npm run bench cache: ${(error as Error).message.split("\n")[0]}`);
  process.exitCode = 1;
}
