// bazel-cache seed: files that the user has, put where Bazel looks first.
import path from "node:path";
import { Failure, usage } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { bytes, paint } from "../../host/cli/terminal.js";
import { filesBelow, kindOfPath } from "../cache/candidates.js";
import { type Algorithm, type Digest, keyOf, parseHex, parseIntegrity } from "../cache/digest.js";
import { type Hashed, hashFiles } from "../cache/hashing.js";
import { inspect, promisedBy } from "../cache/inspect.js";
import { entryFile } from "../cache/layout.js";
import { canonicalIds } from "../cache/markers.js";
import { type Placed, placeFile } from "../cache/store.js";
import { canonicalIdsOf, type Download } from "../declared/download.js";
import { baseName } from "../declared/repository-rules.js";
import { type Context, openContext, type PlaceFlags } from "./context.js";
import { type DeclaredFlags, declaredDownloads } from "./declared.js";
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
  status: "seeded" | "already there" | "not stored" | "passed over";
  names: string[];
  digest?: Digest;
  size?: number;
  how?: string;
  markers?: number;
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
      outcomes.push(await seedOne(candidate, hashed[i]!, { wanted, declared, context, flags }));
    }
    if (
      wanted &&
      inputs.length > 0 &&
      !outcomes.some((o) => o.status !== "not stored" && o.status !== "passed over") &&
      !outcomes.some((o) => o.status === "not stored")
    )
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
}

async function seedOne(candidate: Candidate, hashed: Hashed, { wanted, declared, context, flags }: Seeding): Promise<Outcome> {
  const { file, named } = candidate;
  const no = (reason: string): Outcome => ({ file, status: named ? "not stored" : "passed over", names: [], reason });
  if (!hashed.ok) return no(`${file}: ${hashed.reason}`);
  const digests = Object.entries(hashed.digests).map(([algorithm, hex]) => ({ algorithm, hex }) as Digest);
  const keys = new Set(digests.map(keyOf));
  const matches = declared.filter((d) => d.digest && keys.has(keyOf(d.digest)));
  const targets = new Map(matches.map((d) => [keyOf(d.digest!), d.digest!]));
  if (wanted && keys.has(keyOf(wanted))) targets.set(keyOf(wanted), wanted);
  const given = flags.url !== undefined || flags.canonicalId !== undefined || candidate.url !== undefined;
  if (wanted && !keys.has(keyOf(wanted)))
    return named ? no(await mismatch(file, hashed, wanted, flags.url?.[0] ?? candidate.url, context.cache)) : no("another digest");
  if (targets.size === 0) {
    if (!named) return no("nothing declares it");
    const near = given ? undefined : nearest(file, declared);
    if (near) return no(await mismatch(file, hashed, near.digest!, near.urls[0], context.cache, near));
    if (!given && declared.length > 0)
      return no(
        `${file}: none of the ${declared.length} downloads of ${context.workspace ?? "the list"} has sha256 ${hashed.digests.sha256}; say --url or --sha256 to store it all the same`,
      );
    // Outside of a workspace, or for a URL of the user's own: its own digest is what somebody will ask for.
    const own = digests.find((d) => d.algorithm === "sha256")!;
    targets.set(keyOf(own), own);
  }
  const outcome: Outcome = {
    file,
    status: "already there",
    names: matches.map((d) => d.name),
    digest: [...targets.values()][0]!,
    size: hashed.identity.size,
    markers: 0,
  };
  for (const digest of targets.values()) {
    const ids = idsFor(digest, matches, candidate, flags);
    outcome.path = entryFile(context.cache, digest);
    if (flags.dryRun) {
      outcome.status = "seeded";
      continue;
    }
    const source = { file, digest, identity: hashed.identity };
    const placed: Placed = await placeFile(context.cache, source, ids, { copy: flags.copy === true, move: candidate.url !== undefined && targets.size === 1 });
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

/** The declaration that this file was probably meant for: one whose URL ends in its name. */
function nearest(file: string, declared: readonly Download[]): Download | undefined {
  // Browsers number what they download twice: "v8 (1).tar.gz".
  const name = path.basename(file).replace(/ ?\(\d+\)(?=\.)/, "");
  return (
    declared.find((d) => d.digest && d.urls.some((url) => baseName(url) === name)) ??
    declared.find((d) => d.digest && d.name === name.replace(/\.(tar\..*|tgz|zip|jar)$/, ""))
  );
}

async function mismatch(file: string, hashed: Hashed & { ok: true }, wanted: Digest, url: string | undefined, cache: string, of?: Download): Promise<string> {
  const { algorithm, hex } = wanted;
  const actual = hashed.digests[algorithm]!;
  // A local name promises as much as a URL where there is none.
  const seems = await inspect(file, url && promisedBy(url) ? url : file);
  const known = await knownSize(cache, wanted);
  const what = of ? ` of ${of.name}` : "";
  return `${file}: has ${algorithm} ${actual} (${hashed.identity.size} bytes), not the declared ${hex}${what}${known}: ${seems ?? "other bytes: another version, or changed at its origin"}`;
}

async function knownSize(cache: string, digest: Digest): Promise<string> {
  const { hashOne } = await import("../cache/hashing.js");
  const there = await hashOne(entryFile(cache, digest), [digest.algorithm]);
  return there.ok && there.digests[digest.algorithm] === digest.hex ? ` (${there.identity.size} bytes)` : "";
}

function report(outcomes: readonly Outcome[], context: Context, flags: SeedFlags): void {
  const failed = outcomes.filter((o) => o.status === "not stored");
  const stored = outcomes.filter((o) => o.status === "seeded");
  if (flags.json) console.log(JSON.stringify({ cache: context.cache, dryRun: flags.dryRun === true, files: outcomes }, null, 2));
  else {
    for (const outcome of outcomes) {
      const { status, file, names, digest, size = 0, how, markers = 0 } = outcome;
      if (status === "passed over" || status === "not stored") continue;
      const title = names.length > 0 ? `${names.join(", ")} ← ${file}` : file;
      const detail = [bytes(size), ...(how ? [how] : []), ...(markers > 0 ? [`${markers} ${markers === 1 ? "marker" : "markers"}`] : [])].join(", ");
      const verb = status === "seeded" ? (flags.dryRun ? "would seed" : "seeded") : markers > 0 ? "marked" : "already there";
      console.log(`${paint("green", verb)} ${title} (${detail})\n  ${paint("dim", `${digest!.algorithm} ${digest!.hex}`)}`);
    }
    const passed = outcomes.filter((o) => o.status === "passed over").length;
    const rest = outcomes.length - passed - failed.length - stored.length;
    if (outcomes.length !== 1)
      console.log(
        `${stored.length} seeded, ${rest} already there${passed > 0 ? `, ${passed} files that nothing declares passed over` : ""}, into ${context.cache}`,
      );
    for (const { reason } of failed.slice(1)) console.error(`bazel-cache: ${reason}`);
  }
  if (failed[0]) throw new Failure(failed[0].reason!);
}
