// The downloads that a command is about: a workspace's, a list's (--from-json), or both.

import { usage } from "../../host/cli/failure.js";
import { type Declared, withoutRepeats } from "../declared/download.js";
import { readDownloadList } from "../declared/json.js";
import type { RegistryReader } from "../declared/registry.js";
import { readWorkspace } from "../declared/workspace.js";
import type { Context } from "./context.js";

export interface DeclaredFlags {
  fromJson?: string[];
  registry?: string[];
}

/** `reader`: where files of registries come from, where that is not only this machine. */
export async function declaredDownloads(context: Context, flags: DeclaredFlags, reader?: RegistryReader): Promise<Declared> {
  for (const registry of flags.registry ?? [])
    if (!/^(https?|file):\/\//.test(registry)) throw usage(`--registry ${registry}: no URL of a registry; write https://… or file:///…`);
  const lists = (flags.fromJson ?? []).flatMap(readDownloadList);
  if (context.workspace === undefined || (lists.length > 0 && context.file === undefined && !context.named))
    return { downloads: withoutRepeats(lists), problems: [] };
  const declared = await readWorkspace({
    workspace: context.workspace,
    ...(context.file === undefined ? {} : { file: context.file }),
    cache: context.cache,
    version: context.version,
    registries: flags.registry ?? [],
    env: process.env,
    platform: process.platform,
    ...(reader ? { reader } : {}),
  });
  return { downloads: withoutRepeats([...declared.downloads, ...lists]), problems: declared.problems };
}
