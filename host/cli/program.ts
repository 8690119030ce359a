// Runs a command line: its errors are one line each, its exit codes 0, 1 (it did not work) or 2 (it was called wrongly).
import { type Command, CommanderError } from "commander";
import { Failure } from "./failure.js";
import { color, paint } from "./terminal.js";

/** Parses the arguments and runs the command. Stack traces are shown where the program's own option --verbose is given. */
export async function runProgram(program: Command): Promise<void> {
  for (const command of [program, ...program.commands]) {
    const name = command === program ? program.name() : `${program.name()} ${command.name()}`;
    command.configureOutput({
      outputError: (text, write) =>
        write(
          `${paint("red", `${name}:`, color.err)} ${text
            .replace(/^error: /, "")
            .trim()
            .replaceAll("\n", " ")} (${name} --help shows how)\n`,
        ),
    });
  }
  try {
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 2;
      return;
    }
    const message = error instanceof Error ? error.message : String(error);
    // Our own errors are one line, unless a name in them has an end of line; of others' the first line says what it is.
    const line = error instanceof Failure ? message.replaceAll("\n", "?") : message.split("\n", 1)[0];
    console.error(`${paint("red", `${program.name()}:`, color.err)} ${line}`);
    if (program.opts<{ verbose?: boolean }>().verbose && error instanceof Error) console.error(error.stack);
    process.exitCode = error instanceof Failure ? error.exitCode : 1;
  }
}
