// Modules that are wrong, and guests that do wrong: the same words on both engines, and everything else goes on.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { mount, noHosts } from "../../host/testing/index.js";
import { PROBES } from "../conformance/probes.js";
import { assembleText } from "../harness/build.js";

const recorder = path.join(PROBES, "recorder.wasm");
const probe = (name: string) => path.join(PROBES, "wat", `${name}.wasm`);
const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-bad-"));
const text = path.join(directory, "text.wasm");
writeFileSync(text, "this is no module");
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const MODULES: [what: string, file: string, says: RegExp][] = [
  ["is not wasm", text, /Failed to parse corrupted Wasm module; Wasm VM failed Failed to load Wasm code/],
  ["has no ABI marker", probe("no-abi"), /Missing or unknown Proxy-Wasm ABI version/],
  ["imports what no host has", probe("unknown-import"), /Failed to load Wasm module due to a missing import: env\.seed/],
  ["imports with a wrong type", probe("wrong-import-type"), /import type mismatch: env\.proxy_log, want: i32 i32 -> i32, but host exports: i32 i32 i32 -> i32/],
  [
    "exports a callback with a wrong type",
    probe("bad-callback-signature"),
    /Bad function signature for: proxy_on_log, want: i32 -> void, but the module exports: i32 i32 -> void/,
  ],
  ["has no malloc", probe("no-malloc"), /Wasm module is missing malloc function/],
  ["traps while it initializes", probe("initialize-trap"), /Function: _initialize failed: Uncaught RuntimeError: unreachable/],
];

const CALLBACKS = ["on_context_create", "on_request_headers", "on_request_body", "on_response_headers", "on_response_body", "on_log", "on_done", "on_delete"];

describe.each(["node", "envoy"] as const)("on the %s engine", (engine) => {
  test.each(MODULES)("a module that %s", async (_what, file, says) => {
    const error = await mount(file, { engine, config: "" }).then(
      () => undefined,
      (problem: Error) => problem,
    );
    expect(error?.message).toMatch(says);
    expect(error?.message).not.toContain("\n");
  });

  test("a start section that calls the host", async () => {
    await expect(mount(probe("start-section-log"), { engine, config: "" })).rejects.toThrow(
      engine === "node"
        ? "a real Envoy would die (SIGSEGV) here: the module's start section calls env.proxy_log, before it has a context"
        : "killed by SIGSEGV",
    );
  });

  test("a callback that a callback brings about, without end, fails the VM", async () => {
    const call = "grpc %0a%07%0a%05empty 1000 s m x";
    const config = `on_request_headers: ${call}\non_grpc_close: ${call}`;
    await using envoy = await mount(recorder, { engine, config, clusters: { empty: noHosts }, plugin: { failure_policy: "FAIL_CLOSED" } });
    for (let i = 0; i < 2; i++) expect((await envoy.fetch("/")).status).toBe(503);
    await envoy.logged(/Function: proxy_on_grpc_close failed: Uncaught RangeError: Maximum call stack size exceeded/);
  });

  test("20,000 answers in one callback are one", async () => {
    const module = path.join(directory, `${engine}-answers.wasm`);
    const text = `(module (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1")) (func (export "malloc") (param i32) (result i32) (i32.const 1024))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local i32)
        (loop $l (drop (call $reply (i32.const 418) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
          (br_if $l (i32.lt_u (local.tee 3 (i32.add (local.get 3) (i32.const 1))) (i32.const 20000)))) (i32.const 1)))`;
    writeFileSync(module, await assembleText(text));
    await using envoy = await mount(module, { engine, config: "" });
    expect((await envoy.fetch("/")).status).toBe(418);
  });

  test.each([
    ["badptr", 200],
    ["badout", 200],
    ["oob", 503],
    ["div0", 503],
    ["overflow", 503],
  ] as const)("a guest that does %s is answered with %i, and the engine goes on", async (operation, status) => {
    const envoy = await mount(recorder, { engine, config: `on_request_headers: ${operation}`, plugin: { failure_policy: "FAIL_CLOSED" } });
    for (let i = 0; i < 2; i++) expect((await envoy.fetch("/")).status).toBe(status);
    if (status === 503) await envoy.logged(/Function: proxy_on_request_headers failed: Uncaught (RuntimeError|RangeError)/);
    await envoy.close();
  });
});

test.each(CALLBACKS)("a trap in %s fails its VM; the VM of another filter goes on", async (callback) => {
  const envoy = await mount(recorder, {
    engine: "node",
    config: `${callback}: trap`,
    chain: [{ module: recorder, config: "on_request_headers: say here" }],
    plugin: { failure_policy: "FAIL_OPEN" },
    clusters: { upstream: () => new Response("answer") },
  });
  // A response that breaks off is an error of its body's.
  const send = async () => {
    const response = await envoy.fetch("/", { method: "POST", body: "x" });
    await response.text().catch(() => {});
    return response;
  };
  await send();
  await envoy.logged(new RegExp(`proxy_${callback} failed: Uncaught RuntimeError: unreachable`));
  expect((await send()).status).toBe(200);
  await envoy.settled();
  expect(envoy.logs.filter(({ text: line }) => line.endsWith("here")).length).toBeGreaterThan(0);
  await envoy.close();
});

const LOOPS: [what: string, turn: string][] = [
  ["turns", ""],
  ["asks for the time", "(drop (call $time (i32.const 0)))"],
  ["logs", "(drop (call $log (i32.const 2) (i32.const 64) (i32.const 4)))"],
  ["catches what the host throws", "(try (do (drop (call $time (i32.const 0)))) (catch_all))"],
  ["fills memory", "(memory.fill (i32.const 0) (i32.const 0) (i32.const 1000000))"],
];

test.each(LOOPS)("a guest that %s for ever fails its VM; the VM of another filter goes on", async (what, turn) => {
  const file = path.join(directory, `${what.replaceAll(" ", "-")}.wasm`);
  const module = `(module
    (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (memory (export "memory") 16) (data (i32.const 64) "line")
    (func (export "proxy_abi_version_0_2_1")) (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (loop $l ${turn} (br $l)) (i32.const 0)))`;
  writeFileSync(file, await assembleText(module));
  const chain = [{ module: recorder, config: "on_request_headers: say here" }];
  await using envoy = await mount(file, { engine: "node", config: "", chain, plugin: { failure_policy: "FAIL_OPEN" } });
  expect((await envoy.fetch("/")).status).toBe(503);
  await envoy.logged(/proxy_on_request_headers failed: Uncaught endless loop \(a real Envoy would hang in it\)/);
  expect((await envoy.fetch("/")).status).toBe(200);
  await envoy.logged(/here$/);
});
