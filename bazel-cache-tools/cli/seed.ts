// bazel-cache seed: files that the user has, put where Bazel looks first.
import { rmSync, statSync } from "node:fs";
import { Failure, usage } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { bytes, color, paint } from "../../host/cli/terminal.js";
import { filesBelow, kindOfPath } from "../cache/candidates.js";
import { type Algorithm, type Digest, keyOf, parseHex, parseIntegrity } from "../cache/digest.js";
import { type Hashed, hashFiles } from "../cache/hashing.js";
import { inspect } from "../cache/inspect.js";
import { entryFile } from "../cache/layout.js";
import { canonicalIds } from "../cache/markers.js";
import { isStored, type Placed, placeFile } from "../cache/store.js";
import { canonicalIdsOf, type Download } from "../declared/download.js";
import { type Context, openContext, type PlaceFlags } from "./context.js";
import { type DeclaredFlags, declaredDownloads } from "./declared.js";
import { explainMismatch, nearest } from "./mismatch.js";
import { openProgress, type Progress } from "./progress.js";

export interface SeedFlags extends PlaceFlags, DeclaredFlags {
  sha256?: string;
  integrity?: string;
  url?: string[];
  canonicalId?: string[];
  workspace?: string | false;
  copy?: boolean;
  dryRun?: boolean;
  json?: boolean;
}

interface Outcome {
  file: string;
  status: "seeded" | "already there" | "not stored" | "not it" | "passed over";
  names: string[];
  digest?: Digest;
  size?: number;
  how?: string;
  markers?: number;
  /** Whether anything said what its marker is made of. */
  marked?: boolean;
  path?: string;
  reason?: string;
}

/** A file to be seeded. `named`: the user gave it itself, so that not storing it is a failure; what was only found in a directory is passed over. */
interface Candidate {
  file: string;
  named: boolean;
  /** Where it was downloaded from, just now. */
  url?: string;
}

const URL_PATTERN = /^(https?|file):\/\//i;

export async function runSeed(inputs: string[], flags: SeedFlags): Promise<void> {
  const wanted = wantedDigest(flags);
  for (const url of flags.url ?? []) if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(url)) throw usage(`--url ${url}: no URL; write it as it is declared: https://…`);
  const context = openContext(flags, flags.workspace === false ? undefined : flags.workspace);
  const declared = flags.workspace === false ? [] : (await declaredDownloads(context, flags)).downloads;
  const { signal } = interruption();
  const progress = await openProgress(flags.json);
  const outcomes: Outcome[] = [];
  try {
    const candidates: Candidate[] = [];
    for (const input of inputs) candidates.push(...(await collect(input, wanted, declared, context, flags, signal, progress)));
    const jobs = candidates.map(({ file }) => ({ file, algorithms: algorithmsFor(wanted, declared) }));
    const bar = progress.bar("hashing", 0);
    const hashed = await hashFiles(jobs, { progress: bar.add, signal });
    bar.end();
    for (const [i, candidate] of candidates.entries()) {
      signal.throwIfAborted();
      outcomes.push(await seedOne(candidate, hashed[i]!, { wanted, declared, context, flags, signal }));
      // What was downloaded is in the cache now, or is not wanted.
      if (candidate.url !== undefined) rmSync(candidate.file, { force: true });
    }
    if (wanted && outcomes.every((o) => o.status === "passed over"))
      throw new Failure(`nothing in ${inputs.join(", ")} has ${wanted.algorithm} ${wanted.hex}; ${candidates.length} files were looked at`);
  } catch (error) {
    if (signal.aborted) throw new Failure("interrupted; what was seeded so far is in the cache, run the same again for the rest");
    throw error;
  } finally {
    progress.close();
  }
  report(outcomes, context, flags);
}

function wantedDigest({ sha256, integrity }: SeedFlags): Digest | undefined {
  if (sha256 !== undefined && integrity !== undefined) throw usage("--sha256 and --integrity say the same thing: give one of them");
  const digest = sha256 !== undefined ? parseHex(sha256) : integrity !== undefined ? parseIntegrity(integrity) : undefined;
  if (sha256 !== undefined && !digest) throw usage(`--sha256 ${sha256}: no SHA-256; it has 64 hexadecimal digits`);
  if (integrity !== undefined && !digest) throw usage(`--integrity ${integrity}: no integrity; write sha256-… (base64), as it stands in the declaration`);
  return digest;
}

function algorithmsFor(wanted: Digest | undefined, declared: readonly Download[]): Algorithm[] {
  if (wanted) return [wanted.algorithm];
  return [...new Set<Algorithm>(["sha256", ...declared.flatMap((d) => (d.digest ? [d.digest.algorithm] : []))])];
}

async function collect(
  input: string,
  wanted: Digest | undefined,
  declared: readonly Download[],
  context: Context,
  flags: SeedFlags,
  signal: AbortSignal,
  progress: Progress,
): Promise<Candidate[]> {
  if (URL_PATTERN.test(input)) {
    if (flags.dryRun) throw usage(`--dry-run cannot tell what ${input} holds: leave it out, or download the file first`);
    const { fetchUrl } = await import("./fetch-url.js");
    const download = declared.find((d) => d.urls.includes(input));
    const digest = wanted ?? download?.digest;
    return [{ file: await fetchUrl({ url: input, ...(digest ? { digest } : {}) }, context, signal, progress), named: true, url: input }];
  }
  if (kindOfPath(input) === "file") return [{ file: input, named: true }];
  if (flags.url !== undefined && !wanted) throw usage(`--url says where one file comes from: with a directory (${input}) say --sha256 or --integrity as well`);
  return filesBelow(input).map((file) => ({ file, named: false }));
}

interface Seeding {
  wanted: Digest | undefined;
  declared: readonly Download[];
  context: Context;
  flags: SeedFlags;
  signal: AbortSignal;
}

async function seedOne(candidate: Candidate, hashed: Hashed, { wanted, declared, context, flags, signal }: Seeding): Promise<Outcome> {
  const { file, named } = candidate;
  const no = (reason: string): Outcome => ({ file, status: named ? "not stored" : "passed over", names: [], reason });
  if (!hashed.ok) return no(`${file}: ${hashed.reason}`);
  const digests = Object.entries(hashed.digests).map(([algorithm, hex]) => ({ algorithm, hex }) as Digest);
  const keys = new Set(digests.map(keyOf));
  const matches = declared.filter((d) => d.digest && keys.has(keyOf(d.digest)));
  const targets = new Map(matches.map((d) => [keyOf(d.digest!), d.digest!]));
  if (wanted && keys.has(keyOf(wanted))) targets.set(keyOf(wanted), wanted);
  const given = flags.url !== undefined || flags.canonicalId !== undefined || candidate.url !== undefined;
  const refuse = async (digest: Digest, url: string | undefined, of = ""): Promise<Outcome> => {
    const reason = await explainMismatch(file, hashed, digest, url, `${of}${await knownSize(context.cache, digest)}`);
    return { file, status: "not stored", names: [], reason };
  };
  if (wanted && !keys.has(keyOf(wanted))) return named ? refuse(wanted, flags.url?.[0] ?? candidate.url) : no("another digest");
  if (targets.size === 0) {
    const near = given ? undefined : nearest(file, declared);
    if (near) return { ...(await refuse(near.digest!, near.urls[0], ` of ${near.name}`)), ...(named ? {} : { status: "not it" }) };
    if (!named) return no("nothing declares it");
    const seems = await inspect(file, candidate.url ?? flags.url?.[0] ?? file);
    if (seems) return no(`${file}: ${seems}; with --sha256 it is stored all the same`);
    if (!given && declared.length > 0)
      return no(
        `${file}: none of the ${declared.length} downloads of ${context.workspace ?? "the list"} has sha256 ${hashed.digests.sha256}; say --url or --sha256 to store it all the same`,
      );
    // Outside of a workspace, or for a URL of the user's own: its own digest is what somebody will ask for.
    const own = digests.find((d) => d.algorithm === "sha256")!;
    targets.set(keyOf(own), own);
  }
  const outcome: Outcome = {
    file: candidate.url ?? file,
    status: "already there",
    names: matches.map((d) => d.name),
    digest: [...targets.values()][0]!,
    size: hashed.identity.size,
    markers: 0,
  };
  for (const digest of targets.values()) {
    const ids = idsFor(digest, matches, candidate, flags);
    outcome.path = entryFile(context.cache, digest);
    if (ids.length > 0) outcome.marked = true;
    if (flags.dryRun) {
      if (!(await isStored(context.cache, digest))) outcome.status = "seeded";
      continue;
    }
    const source = { file, digest, identity: hashed.identity };
    const placed: Placed = await placeFile(context.cache, source, ids, {
      copy: flags.copy === true,
      move: candidate.url !== undefined && digest === [...targets.values()].at(-1),
      signal,
    });
    outcome.markers! += placed.markers.length;
    if (placed.how !== "already there") {
      outcome.status = "seeded";
      outcome.how = placed.how;
    }
  }
  return outcome;
}

/** Of the declarations that match, of the command line, and of where it just came from: the more, the better. */
function idsFor(digest: Digest, matches: readonly Download[], candidate: Candidate, flags: SeedFlags): string[] {
  const mine = matches.filter((d) => keyOf(d.digest!) === keyOf(digest)).flatMap(canonicalIdsOf);
  const lists = [flags.url ?? [], candidate.url === undefined ? [] : [candidate.url]];
  return [...new Set([...canonicalIds(lists, flags.canonicalId), ...mine])];
}

/** The size of what is declared, where the cache has it. */
async function knownSize(cache: string, digest: Digest): Promise<string> {
  return (await isStored(cache, digest)) ? ` (${statSync(entryFile(cache, digest)).size} bytes)` : "";
}

function report(outcomes: readonly Outcome[], context: Context, flags: SeedFlags): void {
  const failed = outcomes.filter((o) => o.status === "not stored");
  if (flags.json) console.log(JSON.stringify({ cache: context.cache, dryRun: flags.dryRun === true, files: outcomes }, null, 2));
  else printOutcomes(outcomes, context, flags.dryRun === true);
  if (!failed[0]) return;
  if (!flags.json) for (const { reason } of failed.slice(1)) console.error(`${paint("red", "bazel-cache:", color.err)} ${reason}`);
  throw new Failure(failed[0].reason!);
}

function printOutcomes(outcomes: readonly Outcome[], context: Context, dryRun: boolean): void {
  const of = (status: Outcome["status"]) => outcomes.filter((o) => o.status === status);
  for (const { reason } of of("not it")) console.log(`${paint("yellow", "not it")} ${reason}`);
  for (const outcome of [...of("seeded"), ...of("already there")]) {
    const { status, file, names, digest, size = 0, how, markers = 0 } = outcome;
    const title = names.length > 0 ? `${names.join(", ")} ← ${file}` : file;
    const added = markers > 0 ? [`${markers} ${markers === 1 ? "marker" : "markers"} added`] : [];
    const verb = status === "already there" ? "already there" : dryRun ? "would seed" : "seeded";
    console.log(
      `${paint("green", verb)} ${title} (${[bytes(size), ...(how ? [how] : []), ...added].join(", ")})\n  ${paint("dim", `${digest!.algorithm} ${digest!.hex}`)}`,
    );
  }
  const [stored, there, other, passed] = [of("seeded").length, of("already there").length, of("not it").length, of("passed over").length];
  if (stored + there + other + passed === 0) return;
  const parts = [
    `${stored} ${dryRun ? "to seed" : "seeded"}`,
    `${there} already there`,
    ...(other > 0 ? [`${other} not what is declared`] : []),
    ...(passed > 0 ? [`${passed} passed over`] : []),
  ];
  console.log(`${parts.join(", ")}: ${context.cache}`);
  if ([...of("seeded"), ...of("already there")].some((o) => !o.marked)) console.log("without --url there is no marker, and Bazel 7 and later will not find it");
}
