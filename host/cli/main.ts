// The command line. Each command's own code is loaded when it runs, so that --help answers at once.
import { Command, Option } from "commander";
import { parseBudget, parseCluster, parseMemory, parseUpstream, portOf } from "./arguments.js";
import type { BuildFlags } from "./build.js";
import type { ConfigFlags } from "./config.js";
import { runProgram } from "./program.js";
import type { RunFlags } from "./run.js";

const VERSION = "0.1.0";

const program = new Command("envoyscript")
  .description("Envoy filters in TypeScript: compile, run and configure them")
  .version(VERSION)
  .option("--verbose", "show stack traces of errors")
  .addHelpText(
    "after",
    "\nExamples:\n  $ envoyscript build who.ts -o who.wasm\n  $ envoyscript run who.ts --upstream http://127.0.0.1:9000\n  $ envoyscript config who.ts --bootstrap > envoy.yaml",
  )
  .exitOverride();

const memory = () => new Option("--memory <size>", "memory ceiling of the module's VM (default: 64MiB)").argParser(parseMemory);
const budget = () =>
  new Option("--budget <n>", "loop turns and calls a filter may take in one go; 0 does not count (default: 10000000)").argParser(parseBudget);
const config = () => new Option("--config <file>", "configuration: a JSON file, or JSON in quotes");
const filter = () => new Option("--filter <name>", "the filter to use, where the module has several");
const clusters = () => new Option("--cluster <name=url>", "address of a cluster that the filter calls (may be repeated)").argParser(parseCluster);

program
  .command("build")
  .summary("compile filters to one .wasm")
  .description("Compiles filters to one proxy-wasm module that a stock Envoy (1.35 or later, v8 runtime) loads.")
  .argument("<file...>", "TypeScript files with @filter classes")
  .option("-o, --output <file>", "where to write the module (default: beside the first file)")
  .addOption(memory())
  .addOption(budget())
  .option("--debug", "keep function names, for Envoy's backtraces and profilers")
  .option("--json", "print the result as JSON")
  .addHelpText("after", "\nExamples:\n  $ envoyscript build who.ts\n  $ envoyscript build auth.ts mask.ts -o gateway.wasm --memory 16MiB")
  .action(async (files: string[], flags: BuildFlags) => (await import("./build.js")).runBuild(files, flags));

program
  .command("run")
  .summary("serve a filter through a real Envoy")
  .description(
    "Builds filters (or takes a .wasm) and serves them through a real Envoy, or the embedded engine, until Ctrl-C. With --bootstrap: serves a whole Envoy configuration.",
  )
  .argument("[file...]", "TypeScript files, or one .wasm")
  .addOption(new Option("--upstream <url>", "where requests go: http://host:port").argParser(parseUpstream))
  .addOption(new Option("--engine <name>", "a real Envoy, or the engine inside this program").choices(["envoy", "node"]).default("envoy"))
  .option("--bootstrap <file>", "an Envoy bootstrap (YAML or JSON) to serve, as envoy -c does")
  .addOption(config())
  .addOption(filter())
  .addOption(clusters())
  .addOption(new Option("--port <n>", "port to listen on; 0 takes a free one (default: 10000)").argParser(portOf("--port")))
  .addOption(new Option("--admin-port <n>", "port of Envoy's admin interface (default: a free one)").argParser(portOf("--admin-port")))
  .addOption(
    new Option("--log-level <level>", "least level of the filter's log").choices(["trace", "debug", "info", "warn", "error", "critical"]).default("info"),
  )
  .addOption(memory())
  .addOption(budget())
  .addHelpText(
    "after",
    '\nExamples:\n  $ envoyscript run who.ts --upstream http://127.0.0.1:9000 --cluster auth=http://127.0.0.1:9001 --config \'{"auth":"auth"}\'\n  $ envoyscript run gateway.wasm --filter mask --upstream http://127.0.0.1:9000 --port 8080\n  $ envoyscript run --engine node --bootstrap envoy.yaml',
  )
  .action(async (files: string[], flags: RunFlags) => (await import("./run.js")).runRun(files, flags));

program
  .command("config")
  .summary("print the Envoy YAML that a filter needs")
  .description("Prints the http_filters entry and the clusters that filters need; with --bootstrap a whole configuration for envoy -c.")
  .argument("<file...>", "TypeScript files, or one .wasm")
  .addOption(config())
  .addOption(filter())
  .addOption(clusters())
  .option("--wasm <path>", "path of the module as Envoy will see it (default: beside the first file)")
  .option("--bootstrap", "print a whole bootstrap")
  .addOption(new Option("--upstream <url>", "upstream of the bootstrap").argParser(parseUpstream))
  .option("--validate", "ask the real Envoy whether it accepts the result")
  .option("--json", "print JSON instead of YAML")
  .addHelpText(
    "after",
    "\nExamples:\n  $ envoyscript config who.ts --config c.json --cluster auth=http://auth:9001 --wasm /etc/envoy/who.wasm\n  $ envoyscript config who.ts --bootstrap --upstream http://127.0.0.1:9000 > envoy.yaml && envoy -c envoy.yaml",
  )
  .action(async (files: string[], flags: ConfigFlags) => (await import("./config.js")).runConfig(files, flags));

program
  .command("demo", { hidden: true })
  .option("--once", "end after the demonstration")
  .addOption(new Option("--port <n>", "port to listen on (default: 10000)").argParser(portOf("--port")))
  .action(async (flags: { once?: boolean; port?: number }) => (await import("./demo.js")).runDemo(flags));

await runProgram(program);
