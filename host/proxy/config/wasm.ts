// envoy.extensions.wasm.v3.PluginConfig and VmConfig.
import { readFileSync } from "node:fs";
import type { PluginConfig, VmConfig } from "../../vm/plugin.js";
import { anyBytes } from "./any.js";
import { ConfigError, type Fields } from "./fields.js";

const NOTHING = new Uint8Array(0);

/** Modules by their path and time: the same file is the same array of bytes, which is what VMs are told apart by. */
const files = new Map<string, Uint8Array>();

function readModule(file: string, path: string): Uint8Array {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const reason = `Invalid path: ${file}`;
    throw new ConfigError(`${path}: ${reason} (${(error as NodeJS.ErrnoException).code ?? error})`, reason);
  }
  const present = files.get(file);
  if (present && Buffer.compare(present, bytes) === 0) return present;
  files.set(file, bytes);
  return bytes;
}

function readCode(fields: Fields | undefined, vm: Fields): Uint8Array {
  if (!fields) return vm.fail("code", "is missing");
  const local = fields.message("local");
  if (!local) return fields.fail("remote", "the node engine does not fetch modules: use local.filename");
  fields.done();
  const filename = local.string("filename");
  const inlineBytes = local.string("inline_bytes");
  const inlineText = local.string("inline_string");
  const variable = local.string("environment_variable");
  local.done();
  if (filename !== undefined) return readModule(filename, local.path);
  if (inlineBytes !== undefined) return Buffer.from(inlineBytes, "base64");
  if (inlineText !== undefined) return Buffer.from(inlineText, "utf8");
  if (variable !== undefined) return Buffer.from(process.env[variable] ?? "", "utf8");
  return local.fail("filename", "is missing");
}

function readCapabilities(fields: Fields | undefined): ReadonlySet<string> | undefined {
  if (!fields) return undefined;
  const names = fields.map("allowed_capabilities").map(([name]) => name);
  fields.done();
  return names.length > 0 ? new Set(names) : undefined;
}

function readVm(fields: Fields): VmConfig {
  const runtime = fields.string("runtime") ?? "";
  if (runtime !== "" && runtime !== "envoy.wasm.runtime.v8") fields.fail("runtime", `the node engine is V8 and cannot be ${runtime}`);
  const variables = fields.message("environment_variables");
  const environment = new Map<string, string>();
  if (variables) {
    for (const key of variables.strings("host_env_keys")) {
      const value = process.env[key];
      if (value !== undefined) environment.set(key, value);
    }
    for (const [key, value] of variables.map("key_values")) {
      if (environment.has(key)) {
        const reason = `Key ${key} is duplicated in envoy.extensions.wasm.v3.VmConfig.environment_variables for ${fields.string("vm_id") ?? ""}. All the keys must be unique.`;
        throw new ConfigError(`${variables.path}: ${reason}`, reason);
      }
      environment.set(key, String(value));
    }
    variables.done();
  }
  const configuration = fields.json_("configuration");
  const vm: VmConfig = {
    vmId: fields.string("vm_id") ?? "",
    code: readCode(fields.message("code"), fields),
    configuration: configuration === undefined ? NOTHING : anyBytes(configuration, `${fields.path}.configuration`),
    environment,
    allowedCapabilities: readCapabilities(fields.message("capability_restriction_config")),
  };
  // Precompiled code and what to do while remote code is fetched: there is none of either here.
  fields.accept("allow_precompiled", "nack_on_code_cache_miss").done();
  return vm;
}

export function readPlugin(fields: Fields): PluginConfig {
  const failOpen = fields.bool("fail_open");
  const policy = fields.choice("failure_policy", ["UNSPECIFIED", "FAIL_RELOAD", "FAIL_CLOSED", "FAIL_OPEN"], "UNSPECIFIED");
  if (failOpen && policy !== "UNSPECIFIED") {
    const reason = "only one of fail_open or failure_policy can be set";
    throw new ConfigError(`${fields.path}: ${reason}`, reason);
  }
  const reload = fields.message("reload_config");
  const backoff = reload?.message("backoff");
  const reloadBackoffMs = backoff?.duration("base_interval") ?? 1000;
  backoff?.accept("max_interval").done();
  reload?.done();
  const vmFields = fields.message("vm_config");
  if (!vmFields) return fields.fail("vm_config", "is missing");
  const vm = readVm(vmFields);
  const capabilities = readCapabilities(fields.message("capability_restriction_config"));
  const configuration = fields.json_("configuration");
  const plugin: PluginConfig = {
    name: fields.string("name") ?? "",
    rootId: fields.string("root_id") ?? "",
    configuration: configuration === undefined ? NOTHING : anyBytes(configuration, `${fields.path}.configuration`),
    failurePolicy: failOpen ? "FAIL_OPEN" : policy === "UNSPECIFIED" ? "FAIL_CLOSED" : policy,
    failOpen: failOpen ?? false,
    reloadBackoffMs,
    allowOnHeadersStopIteration: fields.bool("allow_on_headers_stop_iteration") ?? false,
    // envoy 1.40: the VM's restriction wins over the plugin's.
    vm: vm.allowedCapabilities ? vm : { ...vm, allowedCapabilities: capabilities },
  };
  fields.done();
  return plugin;
}
