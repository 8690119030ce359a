// The manifest: what a module is, in a custom section of its own, so that tools need nothing but the .wasm.

import { customSection } from "../wasm/binary.js";
import type { Needs } from "./passes/features.js";
import type { ConfigClass, FieldType, Program } from "./sources.js";

export const MANIFEST_SECTION = "envoyscript";
export const SDK_VERSION = "0.1.0";

export interface Manifest {
  sdk: string;
  filters: ManifestFilter[];
  /** ABI callbacks the module exports. */
  callbacks: string[];
  /** Memory ceiling in bytes. */
  memory: number;
}

export interface ManifestFilter {
  name: string;
  description: string;
  style: "linear" | "low-level";
  onError: "closed" | "open";
  /** JSON Schema (2020-12) of the configuration. */
  configSchema: JsonSchema;
  needs: { requestBody: boolean; responseBody: boolean; response: boolean; fetch: boolean };
  /** Clusters the code names. */
  clusters: string[];
  /** Configuration fields that hold a cluster's name, as paths; "*" is any element of an array or map ("auth.cluster", "routes.*.cluster"). */
  clusterFields: string[];
}

export type JsonSchema = { [key: string]: unknown };

export function makeManifest(program: Program, needs: Needs, memory: number): Manifest {
  return {
    sdk: SDK_VERSION,
    filters: program.filters.map((filter, i) => ({
      name: filter.name,
      description: filter.description,
      style: filter.style,
      onError: filter.onError,
      configSchema: filter.config ? schemaOf(filter.config, []) : { type: "object", additionalProperties: false },
      needs: {
        requestBody: needs.filters[i]!.requestBody,
        responseBody: needs.filters[i]!.responseBody,
        response: needs.filters[i]!.next,
        fetch: needs.filters[i]!.fetch,
      },
      clusters: needs.filters[i]!.fetch ? filter.clusters : [],
      clusterFields: filter.config ? clusterFields(filter.config, "", []) : [],
    })),
    callbacks: needs.callbacks,
    memory,
  };
}

/** Reads the manifest of a built module; undefined where it has none (a module from another toolchain). */
export function readManifest(wasm: Uint8Array): Manifest | undefined {
  const bytes = customSection(wasm, MANIFEST_SECTION);
  return bytes ? (JSON.parse(new TextDecoder().decode(bytes)) as Manifest) : undefined;
}

function schemaOf(config: ConfigClass, above: ConfigClass[]): JsonSchema {
  // A class that contains itself (a tree) is described once; below that anything goes.
  if (above.includes(config)) return { type: "object" };
  const properties: JsonSchema = {};
  for (const field of config.fields) {
    const schema = typeSchema(field.type, [...above, config]);
    if (field.nullable) schema.type = [schema.type as string, "null"].flat();
    if (field.description) schema.description = field.description;
    if (field.default !== undefined && field.default !== null) schema.default = field.default;
    if (field.oneOf) schema.enum = field.oneOf;
    if (field.range) {
      const [least, greatest] = field.range;
      const [low, high] = { number: ["minimum", "maximum"], string: ["minLength", "maxLength"], array: ["minItems", "maxItems"] }[
        field.type.kind as "number" | "string" | "array"
      ]!;
      schema[low!] = least;
      schema[high!] = greatest;
    }
    properties[field.name] = schema;
  }
  const required = config.fields.filter((field) => field.required).map((field) => field.name);
  return {
    type: "object",
    ...(config.description ? { description: config.description } : {}),
    properties,
    ...(required.length ? { required } : {}),
    additionalProperties: false,
  };
}

const LIMITS: Record<string, [number, number]> = {
  i8: [-128, 127],
  u8: [0, 255],
  i16: [-32768, 32767],
  u16: [0, 65535],
  i32: [-2147483648, 2147483647],
  u32: [0, 4294967295],
  isize: [-2147483648, 2147483647],
  usize: [0, 4294967295],
};

function typeSchema(type: FieldType, above: ConfigClass[]): JsonSchema {
  switch (type.kind) {
    case "string":
      return { type: "string" };
    case "bool":
      return { type: "boolean" };
    case "duration":
      return { type: ["string", "number"], pattern: "^\\d+(\\.\\d+)?(ms|s|m|h)$", minimum: 0 };
    case "number": {
      if (type.type.startsWith("f")) return { type: "number" };
      const limits = LIMITS[type.type];
      return { type: "integer", ...(limits ? { minimum: limits[0], maximum: limits[1] } : {}) };
    }
    case "class":
      return schemaOf(type.config, above);
    case "array":
      return { type: "array", items: typeSchema(type.of, above) };
    case "map":
      return { type: "object", additionalProperties: typeSchema(type.of, above) };
  }
}

function clusterFields(config: ConfigClass, prefix: string, above: ConfigClass[]): string[] {
  if (above.includes(config)) return [];
  return config.fields.flatMap((field) => {
    let path = prefix + field.name;
    if (field.cluster) return [path];
    let { type } = field;
    for (; type.kind === "array" || type.kind === "map"; type = type.of) path += ".*";
    return type.kind === "class" ? clusterFields(type.config, `${path}.`, [...above, config]) : [];
  });
}
