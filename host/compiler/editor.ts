// The editor plugin (tsserver loads it through the tsconfig that the SDK ships): what AssemblyScript would refuse is underlined while it is typed, with the
// compiler's own sentences. The editor's own TypeScript is handed over before the rules are loaded, because syntax kinds are numbered by version
// (build.mjs bundles `typescript` as that instance).
import type ts from "typescript";
import type { Diagnostic } from "./asc.js";

declare function require(name: string): unknown;

type Lint = (file: { shown: string; tree: ts.SourceFile }) => Diagnostic[];

/** What tsserver calls. */
export function init(modules: { typescript: typeof ts }): { create(info: ts.server.PluginCreateInfo): ts.LanguageService } {
  (globalThis as { __envoyscriptTypeScript?: typeof ts }).__envoyscriptTypeScript = modules.typescript;
  const { lint } = require("./lint.js") as { lint: Lint };
  return {
    create(info) {
      const inner = info.languageService;
      const getSemanticDiagnostics = (fileName: string): ts.Diagnostic[] => {
        const found = inner.getSemanticDiagnostics(fileName);
        const file = inner.getProgram()?.getSourceFile(fileName);
        if (!file || file.isDeclarationFile || /node_modules|guest\/(runtime\/)?[^/]*$/.test(fileName)) return found;
        const own = lint({ shown: fileName, tree: file }).map(
          (d): ts.Diagnostic => ({
            file,
            start: file.getPositionOfLineAndCharacter(d.line! - 1, d.column! - 1),
            length: d.length ?? 1,
            messageText: d.message,
            category: modules.typescript.DiagnosticCategory.Error,
            code: Number(d.code.slice(2)),
            source: "envoyscript",
          }),
        );
        return [...found, ...own];
      };
      return new Proxy(inner, { get: (target, key) => (key === "getSemanticDiagnostics" ? getSemanticDiagnostics : Reflect.get(target, key)) });
    },
  };
}
