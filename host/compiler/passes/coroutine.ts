// Coroutines (guest/runtime/coroutine.ts is the other half): Binaryen's Asyncify, told exactly which calls can suspend. A module in which nothing suspends
// gets none of it.
import { binaryen, definedFunctions, type Module, setBody } from "../ir.js";

const SWITCHES = ["startUnwind", "stopUnwind", "startRewind", "stopRewind"].map((name) => `~lib/envoyscript-sdk/runtime/abi/${name}`);

/** The two borders of a coroutine: inlined, they would lose their place. */
const BORDERS = ["*/runtime/coroutine/suspend", "*/runtime/coroutine/guardCoroutine", "*/runtime/chain/enter"];

const OUTSIDE = ["entry", "configure"].map((file) => `~lib/envoyscript-sdk/runtime/${file}/*`);

export function protectBorders(m: Module): void {
  keepApart(m, BORDERS);
}

/** Forbids inlining of the functions that match (Binaryen's wildcards). */
export function keepApart(m: Module, patterns: string[]): void {
  for (const pattern of patterns) {
    binaryen.setPassArgument("no-inline", pattern);
    m.runPasses(["no-inline"]);
  }
  binaryen.setPassArgument("no-inline", null);
}

export function asyncify(m: Module): void {
  // Only start_unwind suspends; no host call does.
  binaryen.setPassArgument("asyncify-ignore-imports", "1");
  // What runs outside of a coroutine refuses to wait (chain.ts, waiter), though its code could reach suspend().
  binaryen.setPassArgument("asyncify-removelist", OUTSIDE.join(","));
  m.runPasses(["asyncify"]);
  binaryen.setPassArgument("asyncify-removelist", null);
  binaryen.setPassArgument("asyncify-ignore-imports", null);
  for (const name of ["asyncify_start_unwind", "asyncify_stop_unwind", "asyncify_start_rewind", "asyncify_stop_rewind", "asyncify_get_state"])
    m.removeExport(name);
}

/** Where nothing suspends, Asyncify's switches are functions that do nothing, and the optimiser removes what depends on them. */
export function withoutSuspension(m: Module): void {
  for (const name of SWITCHES) {
    const f = m.getFunction(name);
    if (!f) continue;
    const { params, results } = binaryen.getFunctionInfo(f);
    m.removeFunction(name);
    m.addFunction(name, params, results, [], m.nop());
  }
  const suspend = definedFunctions(m).find((f) => f.name.endsWith("/runtime/coroutine/suspend"));
  if (suspend) setBody(suspend, m.nop());
}
