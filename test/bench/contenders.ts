// The contenders of each workload as http_filters entries, and the modules they need.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import wabtModule from "wabt";
import { build } from "../../host/compiler/index.js";
import { filterEntry } from "../../host/envoy/bootstrap.js";

export type Workload = "headers" | "body" | "callout" | "live";
export const WORKLOADS: Workload[] = ["headers", "body", "callout", "live"];

export interface Contender {
  name: string;
  /** Envoy's http_filters entries before the router. */
  filters: object[];
  /** Size of the module, if there is one. */
  bytes?: number;
}

const HERE = import.meta.dirname;
const OUT = path.resolve(HERE, "../../node_modules/.cache/envoyscript/bench");

export async function contenders(workload: Workload): Promise<Contender[]> {
  const base = workload === "live" ? "headers" : workload;
  const ours = workload === "live" ? "headers-live" : base;
  const list: Contender[] = [{ name: "none", filters: [] }];
  if (base === "headers") list.push({ name: "native", filters: [headerMutation()] });
  list.push({ name: "lua", filters: [lua(LUA[base]!)] });
  list.push(await raw(base), ourModule("linear", ours), ourModule("low-level", `${ours}-low`));
  return list;
}

function ourModule(name: string, file: string): Contender {
  return wasm(name, `${file}.wasm`, build([path.join(HERE, "filters", `${file}.ts`)], { cwd: HERE }).wasm);
}

async function raw(name: string): Promise<Contender> {
  const wabt = await wabtModule();
  const module = wabt.parseWat(`${name}.wat`, readFileSync(path.join(HERE, "raw", `${name}.wat`), "utf8"));
  const { buffer } = module.toBinary({});
  module.destroy();
  return wasm("raw", `raw-${name}.wasm`, buffer);
}

function wasm(name: string, file: string, bytes: Uint8Array): Contender {
  mkdirSync(OUT, { recursive: true });
  const target = path.join(OUT, file);
  writeFileSync(target, bytes);
  return { name, filters: [filterEntry({ name: "bench", wasm: target })], bytes: bytes.length };
}

function headerMutation(): object {
  const V3 = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
  return {
    name: "envoy.filters.http.header_mutation",
    typed_config: {
      "@type": V3,
      mutations: {
        request_mutations: [{ append: { header: { key: "x-added", value: "%REQ(x-user)%" }, append_action: "APPEND_IF_EXISTS_OR_ADD" } }],
        response_mutations: [{ append: { header: { key: "x-served", value: "yes" }, append_action: "APPEND_IF_EXISTS_OR_ADD" } }, { remove: "server-timing" }],
      },
    },
  };
}

function lua(code: string): object {
  return {
    name: "envoy.filters.http.lua",
    typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua", default_source_code: { inline_string: code } },
  };
}

const LUA: Record<string, string> = {
  headers: `
    function envoy_on_request(h)
      local headers = h:headers()
      local agent, accept, user = headers:get("user-agent"), headers:get("accept"), headers:get("x-user")
      if user == "hold" then h:httpCall("never", {[":method"]="GET",[":path"]="/",[":authority"]="never"}, nil, 3600000) end
      if agent and accept and user then headers:add("x-added", user) end
    end
    function envoy_on_response(h)
      local headers = h:headers()
      headers:add("x-served", "yes")
      headers:remove("server-timing")
    end`,
  body: `
    function envoy_on_request(h)
      local body = h:body()
      local bytes = body:getBytes(0, body:length())
      local count = 0
      for i = 1, #bytes do if string.byte(bytes, i) == 97 then count = count + 1 end end
      h:headers():replace("x-count", tostring(count))
    end`,
  callout: `
    function envoy_on_request(h)
      local headers = h:httpCall("auth", {[":method"]="GET",[":path"]="/check",[":authority"]="auth"}, nil, 5000)
      if headers[":status"] ~= "200" then h:respond({[":status"]="403"}, "denied") end
    end`,
};
