// The link check: a module that builds also loads. Envoy 1.40 refuses a module for an unknown import, a wrong type, a wrong signature of a callback, or a missing
// ABI marker, and crashes over a start section that calls it.
import { readInterface } from "../wasm/binary.js";
import { CALLBACKS, HOST_FUNCTIONS, sameType } from "../wasm/proxy-wasm.js";

const HOST = HOST_FUNCTIONS["0.2.1"];

/** What an import that Envoy does not offer usually comes from. */
const ORIGINS: Record<string, string> = {
  "env.Date.now": "Date.now()",
  "env.seed": "Math.random()",
  "env.trace": "trace()",
  "env.console.log": "console.log(): use log.info from envoyscript-sdk",
  "env.performance.now": "performance.now()",
};

/** What would keep the module from loading, one sentence each. */
export function linkProblems(wasm: Uint8Array): string[] {
  const problems: string[] = [];
  const { imports, exports, hasStart } = readInterface(wasm);
  if (hasStart) problems.push("the module has a start section; Envoy runs it before the filter has a context");
  for (const { module, name, kind, signature } of imports) {
    const full = `${module}.${name}`;
    const expected = module === "env" && name.startsWith("proxy_") ? HOST[name] : undefined;
    if (kind !== "function" || !expected) {
      const origin = ORIGINS[full] ?? Object.entries(ORIGINS).find(([key]) => full.startsWith(key))?.[1];
      problems.push(`Envoy offers no import ${full}${origin ? ` (it comes from ${origin})` : ""}`);
    } else if (!signature || !sameType(signature, expected)) problems.push(`the import ${full} has another type than Envoy's`);
  }
  for (const { name, kind, signature } of exports) {
    const expected = CALLBACKS["0.2.1"][name];
    if (expected && (kind !== "function" || !signature || !sameType(signature, expected)))
      problems.push(`the export ${name} has another signature than Envoy expects`);
  }
  const has = (name: string) => exports.some((e) => e.name === name);
  if (!has("proxy_abi_version_0_2_1")) problems.push("the ABI marker proxy_abi_version_0_2_1 is not exported");
  if (!has("memory")) problems.push("the memory is not exported");
  if (!has("malloc")) problems.push("malloc is not exported");
  return problems;
}
