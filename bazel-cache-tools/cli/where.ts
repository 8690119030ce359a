// bazel-cache where: which directory, and which rule decided.
import { existsSync } from "node:fs";
import { paint } from "../../host/cli/terminal.js";
import { openContext, type PlaceFlags } from "./context.js";

export interface WhereFlags extends PlaceFlags {
  json?: boolean;
}

export function runWhere(workspace: string | undefined, flags: WhereFlags): void {
  const { where, version, workspace: root } = openContext(flags, workspace);
  const exists = existsSync(where.cache);
  if (flags.json) {
    console.log(
      JSON.stringify(
        { cache: where.cache, exists, rule: where.rules[where.decided]!.rule, workspace: root, bazel: version?.text, rules: where.rules, notes: where.notes },
        null,
        2,
      ),
    );
    return;
  }
  console.log(where.cache);
  const width = Math.max(...where.rules.map(({ rule }) => rule.length));
  for (const [i, { rule, says, cache }] of where.rules.entries()) {
    const decides = i === where.decided;
    const line = `${decides ? "→" : " "} ${rule.padEnd(width)}  ${says}`;
    console.error(decides ? paint("bold", line) : cache === undefined ? paint("dim", line) : line);
  }
  if (!exists) console.error("it does not exist yet: Bazel, or bazel-cache seed, makes it");
  if (version) console.error(`Bazel ${version.text} (${version.from})`);
  for (const note of where.notes) console.error(`note: ${note}`);
}
