import { createRequire } from "node:module";
import path from "node:path";
import ts from "typescript";
import { beforeAll, describe, expect, test } from "vitest";
import { buildCli, ROOT } from "../../test/e2e/command.js";

describe("the editor plugin", () => {
  let plugin: { init(modules: { typescript: typeof ts }): { create(info: unknown): ts.LanguageService } };

  beforeAll(() => {
    buildCli();
    plugin = createRequire(import.meta.url)(path.join(ROOT, "host/dist/editor.cjs"));
  });

  /** What an editor would underline in this text. */
  function underlined(text: string): { code: number; text: string; message: string }[] {
    const name = path.join(ROOT, "guest", "examples", "editor-test.ts");
    const config = ts.getParsedCommandLineOfConfigFile(
      path.join(ROOT, "guest/examples/tsconfig.json"),
      {},
      { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => {} },
    )!;
    const service = ts.createLanguageService({
      getCompilationSettings: () => config.options,
      getScriptFileNames: () => [name],
      getScriptVersion: () => "1",
      getScriptSnapshot: (wanted) => {
        if (wanted === name) return ts.ScriptSnapshot.fromString(text);
        const source = ts.sys.readFile(wanted);
        return source === undefined ? undefined : ts.ScriptSnapshot.fromString(source);
      },
      getCurrentDirectory: () => ROOT,
      getDefaultLibFileName: () => "",
      fileExists: ts.sys.fileExists,
      readFile: ts.sys.readFile,
    });
    const proxied = plugin.init({ typescript: ts }).create({ languageService: service });
    return proxied
      .getSemanticDiagnostics(name)
      .map((d) => ({ code: d.code, text: text.slice(d.start!, d.start! + d.length!), message: ts.flattenDiagnosticMessageText(d.messageText, " ") }));
  }

  const filter = (body: string) => `import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
@filter("x")
export class X extends Filter<NoConfig> {
  handle(stream: Stream): void {
    ${body}
  }
}
`;

  test("shows nothing in a good filter", () => {
    expect(underlined(filter('const names = stream.request.headers.getAll("x"); names.sort((a, b) => a.length - b.length); stream.next();'))).toEqual([]);
  });

  test("underlines what AssemblyScript lacks, with the compiler's sentence", () => {
    expect(underlined(filter("try { stream.next(); } catch (e) {}"))).toMatchObject([{ code: 101, message: expect.stringContaining("no try/catch") }]);
    expect(underlined(filter("const n = 3; const f = (): i32 => n + 1; f();"))).toMatchObject([{ code: 100, text: "n" }]);
  });

  test("leaves TypeScript's own errors in place", () => {
    expect(underlined(filter('stream.request.headers.set("a", 5);'))).toMatchObject([{ code: 2345 }]);
  });
});
