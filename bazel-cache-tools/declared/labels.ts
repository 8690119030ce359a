// Labels of .bzl files, as `load` writes them (https://bazel.build/concepts/labels).

export interface Label {
  /** The repository's apparent name; "" for the one that the label stands in. */
  repository: string;
  /** The file's path below that repository's root. */
  path: string;
}

/** `from`: the package of the file that the label stands in, as a path below its repository. Undefined for what is no label. */
export function parseLabel(text: string, from: string): Label | undefined {
  const [, repository = "", rest] = /^(?:@@?([^/:]*)(?=\/\/))?(.*)$/s.exec(text) as unknown as [string, string | undefined, string];
  if (text.startsWith("@") && repository === "" && !/^@@?\/\//.test(text)) return undefined;
  const absolute = /^\/\/([^:]*)(?::(.+))?$/.exec(rest);
  if (absolute) {
    const [, folder = "", name] = absolute;
    return checked(repository, folder, name ?? folder.split("/").at(-1) ?? "");
  }
  if (repository !== "" || rest === "") return undefined;
  return checked("", from, rest.replace(/^:/, ""));
}

function checked(repository: string, folder: string, name: string): Label | undefined {
  const parts = [...folder.split("/"), ...name.split("/")].filter((part) => part !== "");
  // Labels have no way out of their repository.
  if (parts.length === 0 || parts.some((part) => part === "." || part === ".." || part.includes("\\"))) return undefined;
  return { repository, path: parts.join("/") };
}
