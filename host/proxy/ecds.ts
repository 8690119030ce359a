// Extension configurations from a file: a discovery response with TypedExtensionConfig resources, as Envoy's path_config_source reads it.
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import type { PluginConfig } from "../vm/plugin.js";
import { ConfigError, Fields } from "./config/fields.js";
import { readPlugin } from "./config/wasm.js";

/** The resource of a name; `key` is the same for the same configuration. Undefined where the file has none. Throws ConfigError. */
export function readExtension(file: string, name: string): { key: string; plugin: PluginConfig } | undefined {
  let json: unknown;
  try {
    json = parse(readFileSync(file, "utf8"), { logLevel: "error" });
  } catch (error) {
    throw new ConfigError(`${file}: ${error instanceof Error ? error.message.split("\n", 1)[0]!.replace(/:$/, "") : error}`);
  }
  const fields = Fields.of(json, file);
  for (const resource of fields.list("resources")) {
    if (resource.string("name") !== name) continue;
    const config = resource.message("typed_config");
    const plugin = config?.message("config");
    if (!config || !plugin) throw new ConfigError(`${resource.path}: holds no wasm filter`);
    return { key: JSON.stringify(resource.json_("typed_config")), plugin: readPlugin(plugin) };
  }
  return undefined;
}
