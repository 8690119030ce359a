// The command line. Each command's own code is loaded when it runs, so that --help answers at once.
import { Command, InvalidArgumentError, Option } from "commander";
import { runProgram } from "../../host/cli/program.js";
import { guardConsole } from "../../host/cli/terminal.js";
import type { DoctorFlags } from "./doctor.js";
import { duration } from "./duration.js";
import type { FetchFlags } from "./fetch.js";
import type { FromLogFlags } from "./from-log.js";
import type { GcFlags } from "./gc.js";
import type { PackFlags } from "./pack.js";
import type { SeedFlags } from "./seed.js";
import type { ServeFlags } from "./serve.js";
import type { UnpackFlags } from "./unpack.js";
import type { WhereFlags } from "./where.js";

const VERSION = "0.1.0";

const program = new Command("bazel-cache")
  .description("Seeds Bazel's repository cache, and explains every miss")
  .version(VERSION)
  .option("--verbose", "show stack traces of errors")
  .addHelpText(
    "after",
    `
The usual way:
  $ bazel build //… 2>&1 | bazel-cache from-log      # what did it die of? seeds what lies in ~/Downloads
  $ bazel-cache doctor                               # what would miss, why, and what mends it
  $ bazel-cache fetch                                # all that is declared, resumed until it is there

BAZEL_REPOSITORY_CACHE names the cache for bazel-cache (Bazel itself does not read it); NO_COLOR switches colours off.
Exit codes: 0 all well, 1 something would miss or did not work, 2 wrong usage.`,
  )
  .exitOverride();

const list = (value: string, before: string[] = []) => [...before, value];
const several = (flags: string, description: string) => new Option(flags, `${description} (may be repeated)`).argParser(list);

/** Options by which the cache and the Bazel are found. */
function place(command: Command): Command {
  return command
    .optionsGroup("Which cache:")
    .option("--cache <dir>", "the repository cache (default: see bazel-cache where)")
    .option("--output-user-root <dir>", "Bazel's --output_user_root: its cache is below")
    .option("--bazel-version <version>", "judge as this Bazel would (default: .bazelversion)")
    .option("--ask-bazel", "ask bazel info, which starts its server")
    .addOption(new Option("--repository_cache <dir>", "as Bazel spells it").hideHelp())
    .addOption(new Option("--output_user_root <dir>", "as Bazel spells it").hideHelp())
    .optionsGroup("Options:");
}

/** Options by which declarations are found. */
function declarations(command: Command): Command {
  return command
    .addOption(several("--from-json <file>", 'downloads from a list: [{"name": …, "urls": […], "sha256": …}]'))
    .addOption(several("--registry <url>", "a registry of Bazel modules (default: .bazelrc's, or bcr.bazel.build)"));
}

const json = () => new Option("--json", "print the result as JSON");
const onlyOption = () => several("--only <name>", "only downloads of this name; * stands for anything");
const ignoreOption = () => several("--ignore <name>", "without downloads of this name; * stands for anything");

place(
  declarations(
    program
      .command("seed")
      .summary("put files into the cache that you got some other way")
      .description(
        "Puts files where Bazel looks before it asks the network. A file is recognised by its digest: that of a declared download of the workspace, or the one given. Bytes whose digest is another are never stored.",
      )
      .argument("<file|dir|url...>", "files; directories, whose declared files are taken; URLs, which are downloaded first")
      .option("--sha256 <hex>", "the digest that is declared")
      .option("--integrity <sri>", "the same as Subresource Integrity: sha256-…, sha384-…, sha512-…")
      .addOption(several("--url <url>", "a URL under which it is declared, in the declared order"))
      .addOption(several("--canonical-id <id>", "the rule's canonical_id attribute"))
      .option("--workspace <dir>", "whose declarations count (default: the one we are in)")
      .option("--no-workspace", "look at no declarations")
      .option("--copy", "always copy the bytes, where they could be shared with the file (reflink, hard link)")
      .option("--dry-run", "say what would be done")
      .addOption(json())
      .addHelpText(
        "after",
        `
Examples:
  $ bazel-cache seed ~/Downloads
  $ bazel-cache seed v8.tar.gz --sha256 09c3d9f7… --url https://github.com/v8/v8/archive/refs/tags/14.6.202.10.tar.gz
  $ bazel-cache seed https://mirror.example/v8.tar.gz --integrity sha256-CcPZ95…`,
      ),
  ),
).action(async (inputs: string[], flags: SeedFlags) => (await import("./seed.js")).runSeed(inputs, flags));

place(
  declarations(
    program
      .command("fetch")
      .summary("download all that a workspace declares, for bad networks")
      .description(
        "Downloads what is declared and not in the cache: several files at a time, resumed where they broke off (also after Ctrl-C), from mirrors, through proxies (HTTPS_PROXY, NO_PROXY), with netrc's passwords. Verified before it is in the cache.",
      )
      .argument("[workspace]", "its directory, or one file of declarations (default: the one we are in)")
      .addOption(onlyOption())
      .addOption(ignoreOption())
      .addOption(new Option("--jobs <n>", "files at a time (default: 8)").argParser(whole(1)))
      .addOption(new Option("--attempts <n>", "tries of one URL without progress (default: 5)").argParser(whole(1)))
      .addOption(new Option("--stall-timeout <seconds>", "give a connection up after so long without a byte (default: 30)").argParser(whole(1)))
      .addOption(new Option("--limit-rate <bytes>", "at most so many bytes a second: 500K, 2M").argParser(size))
      .option("--dry-run", "say what would be fetched")
      .addOption(json())
      .addHelpText(
        "after",
        "\nExamples:\n  $ bazel-cache fetch ~/envoy\n  $ bazel-cache fetch --only 'v8*' --jobs 2\n  $ bazel-cache fetch --from-json downloads.json --cache /mnt/usb/cache",
      ),
  ),
).action(async (workspace: string | undefined, flags: FetchFlags) => (await import("./fetch.js")).runFetch(workspace, flags));

place(
  declarations(
    program
      .command("doctor")
      .summary("say for each declared download whether Bazel would find it, and why not")
      .description(
        "Looks up each declared download as Bazel does and says: hit, miss, wrong digest, marker missing (from Bazel 7 on), wrong directory, never cacheable, with the reason and the command that mends it. Exit code 1 when something would miss.",
      )
      .argument("[workspace]", "its directory, or one file of declarations (default: the one we are in)")
      .option("--fix", "mend what can be mended from what is there")
      .addOption(several("--search <dir>", "with --fix: look for missing files there, by digest"))
      .option("--deep", "verify every file of the cache, declared or not")
      .option("--all", "list the hits, too")
      .addOption(onlyOption())
      .addOption(ignoreOption())
      .addOption(json())
      .addHelpText(
        "after",
        "\nExamples:\n  $ bazel-cache doctor\n  $ bazel-cache doctor ~/envoy --fix --search ~/Downloads\n  $ bazel-cache doctor --json | jq '.downloads[] | select(.state != \"hit\")'",
      ),
  ),
).action(async (workspace: string | undefined, flags: DoctorFlags) => (await import("./doctor.js")).runDoctor(workspace, flags));

place(
  declarations(
    program
      .command("from-log")
      .summary("read a failed build's output, and seed what it was missing")
      .description(
        "Reads what a build died of (Bazel 0.2x to 9) and seeds it from files of this machine, found by their digests. The log goes through to standard error, so that a build can be piped in.",
      )
      .argument("[file]", "the log; - or nothing: standard input")
      .addOption(several("--search <dir>", "look there (default: your folder of downloads)"))
      .addOption(several("--file <file>", "a file that may be one of the missing ones"))
      .option("--workspace <dir>", "whose declarations count (default: the one we are in)")
      .option("--no-workspace", "look at no declarations")
      .option("--fetch", "download what is not found")
      .option("--quiet", "do not pass the log on")
      .addOption(json())
      .addHelpText("after", "\nExamples:\n  $ bazel build //… 2>&1 | bazel-cache from-log\n  $ bazel-cache from-log build.log --search /mnt/usb"),
  ),
).action(async (file: string | undefined, flags: FromLogFlags) => (await import("./from-log.js")).runFromLog(file, flags));

place(
  program
    .command("where")
    .summary("say where the cache is, and which rule decided")
    .description("Prints the cache's directory; on standard error every rule in its order, and which one decided.")
    .argument("[workspace]", "its directory (default: the one we are in)")
    .addOption(json())
    .addHelpText("after", "\nExamples:\n  $ bazel-cache where\n  $ du -sh $(bazel-cache where 2>/dev/null)"),
).action(async (workspace: string | undefined, flags: WhereFlags) => (await import("./where.js")).runWhere(workspace, flags));

place(
  declarations(
    program
      .command("pack")
      .summary("put what a workspace needs into one file, for a machine without network")
      .description(
        "Writes a tar of the entries that a workspace's declarations need, with their markers, each verified on its way. The same entries make the same bytes. Exit code 1, and no file, when declared downloads are missing.",
      )
      .argument("[workspace]", "its directory, or one file of declarations (default: the one we are in)")
      .requiredOption("-o, --output <file>", "the tar to write; - is standard output")
      .option("--all", "everything that the cache has")
      .option("--partial", "pack what is there where downloads are missing")
      .addOption(onlyOption())
      .addOption(ignoreOption())
      .addHelpText(
        "after",
        "\nExamples:\n  $ bazel-cache pack ~/envoy -o envoy-deps.tar\n  $ bazel-cache pack --all -o - | ssh build bazel-cache unpack -\n  $ bazel-cache pack -o - | zstd > deps.tar.zst",
      ),
  ),
).action(async (workspace: string | undefined, flags: PackFlags) => (await import("./pack.js")).runPack(workspace, flags));

place(
  program
    .command("unpack")
    .summary("put what bazel-cache pack has packed into the cache")
    .description(
      "Takes a tar of bazel-cache pack, or of tar -C CACHE content_addressable, from anywhere: everything is verified before anything is in the cache, and an archive with anything else in it is refused whole.",
    )
    .argument("<file>", "the tar; - is standard input")
    .option("--dry-run", "verify it, and say what would be unpacked")
    .addOption(json())
    .addHelpText("after", "\nExamples:\n  $ bazel-cache unpack envoy-deps.tar\n  $ zstd -dc deps.tar.zst | bazel-cache unpack -"),
).action(async (file: string, flags: UnpackFlags) => (await import("./unpack.js")).runUnpack(file, flags));

place(
  declarations(
    program
      .command("serve")
      .summary("be a mirror for the Bazels of a team")
      .description(
        "Answers over HTTP, read-only, with what is in the cache: by original URL (/github.com/…, as a downloader rewrite asks), known from the markers and from the workspaces named, and by digest. Prints the downloader config that a Bazel needs. Each file is verified before it is served.",
      )
      .argument("[workspaces...]", "whose declared URLs are known as well (default: the one we are in)")
      .option("--host <address>", "the address to listen on; 0.0.0.0 for a team (default: 127.0.0.1)")
      .addOption(new Option("--port <n>", "the port; 0: any free one (default: 8099)").argParser(whole(0)))
      .option("--print-config", "print the downloader config alone, and serve nothing")
      .addHelpText(
        "after",
        "\nExamples:\n  $ bazel-cache serve ~/envoy --host 0.0.0.0\n  $ bazel-cache serve --host cache.example --print-config > bazel-downloader.cfg",
      ),
  ),
).action(async (workspaces: string[], flags: ServeFlags) => (await import("./serve.js")).runServe(workspaces, flags));

place(
  program
    .command("gc")
    .summary("say what has not been used for long, and remove it with --delete")
    .description(
      "Bazel never cleans this cache, but it sets a file's time at every use: what has not been used for longest goes first. Also what killed writers and given-up downloads have left. Without --delete nothing is removed.",
    )
    .addOption(new Option("--older-than <time>", "entries that were not used for so long: 12h, 30d, 2w").argParser(duration))
    .addOption(new Option("--max-size <bytes>", "the longest unused, until so much is left: 500M, 5GiB").argParser(size))
    .addOption(several("--keep-declared <workspace>", "never what this workspace declares"))
    .option("--delete", "remove it")
    .addOption(json())
    .addHelpText("after", "\nExamples:\n  $ bazel-cache gc --older-than 30d\n  $ bazel-cache gc --max-size 5GiB --keep-declared ~/envoy --delete"),
).action(async (flags: GcFlags) => (await import("./gc.js")).runGc(flags));

function whole(least: number): (text: string) => number {
  return (text) => {
    if (!/^\d{1,9}$/.test(text) || Number(text) < least) throw new InvalidArgumentError(`Write a whole number from ${least} on.`);
    return Number(text);
  };
}

const UNITS: Record<string, number> = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

function size(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text) ?? [];
  if (number === undefined || Number(number) <= 0) throw new InvalidArgumentError("Write a size: 500K, 2M, 10GiB or a number of bytes.");
  return Math.round(Number(number) * UNITS[unit!.toUpperCase()]!);
}

guardConsole();
await runProgram(program);
