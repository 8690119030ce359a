// Starlark without Bazel: files to values, with what cannot be computed kept apart from what can.
export { type Site, StarlarkError } from "./errors.js";
export { DefinedFunction } from "./functions.js";
export { type RunOptions, run } from "./run.js";
export type { Budget } from "./session.js";
export { DEFAULT_BUDGET } from "./session.js";
export { type Json, stringOf, toJson } from "./text.js";
export { Builtin, type Call, Callable, Dict, Float, List, listOf, SetValue, Struct, Tuple, truth, typeName, Unknown, type Value } from "./values.js";
