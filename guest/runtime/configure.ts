// A configuration arrives: picks the filters, has their parsers check it, and keeps the result with its root. What is wrong is said with its path,
// and Envoy refuses the configuration.

import { AnyFilter, OnError } from "../filter";
import { Json } from "../json";
import { Level, write } from "../log";
import { BufferType, getBuffer, getProperty, Status } from "./abi";
import { arm, describeFault, disarm, outOfMemory } from "./isolation";
import { at, begin, decimal, out, putText, receiveManaged, takeReceived, textOf } from "./memory";
import { Feature, Link, Root, registry, usesConfig, usesLowLevel } from "./roots";

/** Reads, checks and builds everything of one configuration. Null: refused, and the log says why. */
export function configure(id: u32, size: u32): Root | null {
  const root = new Root(id);
  const text = configuration(size);
  if (!usesConfig) {
    if (!isBlank(text)) return refuse("there is nothing to configure");
    const wanted = property("plugin_root_id");
    if (wanted.length > 0 && wanted != registry.name(0)) return refuse('root_id: the filter of this module is "' + registry.name(0) + '"');
    return add(root, 0, root, "", registry.onError(0)) ? complete(root) : null;
  }
  const json = text.byteLength == 0 ? Json.object() : Json.parseBytes(text);
  if (!json.ok) return refuse("the configuration is not JSON: " + json.error);
  const rootId = property("plugin_root_id");
  if (rootId.length > 0) {
    const index = indexOf(rootId);
    if (index < 0) return refuse('root_id "' + rootId + '" is no filter of this module (filters: ' + names() + ")");
    return add(root, index, json, rootId, registry.onError(index)) ? complete(root) : null;
  }
  const chain = json.get("filters");
  const alone = registry.count == 1;
  if (chain.isArray && !(alone && registry.hasField(0, "filters"))) return configureChain(root, json, chain) ? complete(root) : null;
  if (!alone) return refuse('set root_id to a filter, or configure {"filters":[{"name":…,"config":{…}}]} (filters: ' + names() + ")");
  return add(root, 0, json, registry.name(0), registry.onError(0)) ? complete(root) : null;
}

/** Nothing, or an object with nothing in it. */
function isBlank(text: ArrayBuffer): bool {
  for (let i = 0; i < text.byteLength; i++) {
    const c = load<u8>(changetype<usize>(text) + i);
    if (c > 32 && c != 123 && c != 125) return false;
  }
  return true;
}

function configureChain(root: Root, json: Json, chain: Json): bool {
  if (json.length > 1) return !!refuse('beside "filters" nothing else can be configured');
  if (chain.length == 0) return !!refuse("filters: is empty");
  for (let i = 0; i < chain.length; i++) {
    const entry = chain.at(i);
    const path = "filters[" + decimal(i) + "]";
    const name = entry.get("name");
    if (!name.isString) return !!refuse(path + ".name: is required");
    const index = indexOf(name.string);
    if (index < 0) return !!refuse(path + '.name: "' + name.string + '" is no filter of this module (filters: ' + names() + ")");
    let onError = registry.onError(index);
    for (let j = 0; j < entry.length; j++) {
      const key = entry.nameAt(j);
      if (key == "onError") {
        const policy = entry.at(j).string;
        if (policy != "open" && policy != "closed") return !!refuse(path + '.onError: must be "open" or "closed"');
        onError = policy == "open" ? OnError.Open : OnError.Closed;
      } else if (key != "name" && key != "config") {
        return !!refuse(path + "." + key + ": there is no such field (fields: name, config, onError)");
      }
    }
    if (chain.length > 1 && registry.lowLevel(index)) return !!refuse(path + ': "' + name.string + '" is a StreamFilter and can only stand alone');
    const config = entry.get("config");
    if (!add(root, index, config.ok ? config : Json.object(), path + ".config", onError)) return false;
  }
  return true;
}

function complete(root: Root): Root {
  for (let i = 0; i < root.links.length; i++) {
    const features = registry.features(root.links[i].index);
    root.features |= features;
    if (features & Feature.RequestBody) root.requestReaders++;
    if (features & Feature.ResponseBody) root.responseReaders++;
  }
  // A body that several filters deal with is kept whole for them, whatever each of them does with it.
  if (root.requestReaders > 1) root.features |= Feature.RequestWhole;
  if (root.responseReaders > 1) root.features |= Feature.ResponseWhole;
  return root;
}

// The author's field initialisers and constructor run here, inside the guard.
let task: i32 = 0;
let taskIndex: i32 = 0;
/** Json; without a configuration anything. */
let taskJson: Object | null = null;
let taskPath: string = "";
let taskProblems: string[] = [];
let taskConfig: Object | null = null;
let taskFilter: AnyFilter | null = null;

function guardAuthor(): i32 {
  if (task == 0) taskConfig = registry.parse(taskIndex, changetype<Json>(taskJson!), taskPath, taskProblems);
  else taskFilter = registry.create(taskIndex, taskConfig!);
  return 1;
}

function attempt(which: i32): bool {
  task = which;
  arm();
  const ok = guardAuthor();
  disarm();
  if (ok) return true;
  if (outOfMemory()) __collect();
  refuse('filter "' + registry.name(taskIndex) + '" failed while it was configured: ' + describeFault(registry.files));
  return false;
}

function add(root: Root, index: i32, json: Object, path: string, onError: OnError): bool {
  taskIndex = index;
  taskJson = json;
  taskPath = path;
  taskProblems = [];
  const parsed = attempt(0);
  taskJson = null;
  if (!parsed) return false;
  if (usesConfig && taskProblems.length > 0) return !!refuse(taskProblems.join("; "));
  const link = new Link(index, registry.name(index), onError, taskConfig!);
  if (usesLowLevel && registry.lowLevel(index)) {
    root.lowLevel = true;
  } else {
    if (!attempt(1)) return false;
    link.filter = taskFilter;
  }
  taskFilter = null;
  taskConfig = null;
  root.links.push(link);
  return true;
}

function refuse(why: string): Root | null {
  write(Level.Error, "configuration refused: " + why);
  return null;
}

function indexOf(name: string): i32 {
  for (let i = 0; i < registry.count; i++) {
    if (registry.name(i) == name) return i;
  }
  return -1;
}

function names(): string {
  const all: string[] = [];
  for (let i = 0; i < registry.count; i++) all.push(registry.name(i));
  return all.join(", ");
}

function configuration(size: u32): ArrayBuffer {
  receiveManaged();
  if (size > 0) getBuffer(BufferType.PluginConfiguration, 0, size, out, out + 4);
  return takeReceived();
}

function property(name: string): string {
  begin();
  const size = putText(name);
  if (getProperty(at(0), size, out, out + 4) != Status.Ok) return "";
  return textOf(load<usize>(out), load<usize>(out, 4));
}
