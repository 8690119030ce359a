// Our own scenarios, by the items of the conformance checklist (facts/envoy-wasm.md G); those of the proxy around the filters are in none of them.
import { flow } from "./flow.js";
import { http2 } from "./http2.js";
import { maps } from "./maps.js";
import type { Group } from "./parts.js";
import { proxy } from "./proxy.js";
import { retrying } from "./retries.js";
import { routing } from "./routes.js";
import { others } from "./state.js";

export const GROUPS: Group[] = [...maps, ...flow, ...others, ...proxy, ...http2, ...routing, ...retrying];
