import { expect, test } from "vitest";
import wabt from "wabt";
import { linkProblems } from "./link.js";

const { parseWat } = await wabt();

/** A module that Envoy loads, with more text in it. */
function problems(
  more: string,
  {
    memory = '(memory (export "memory") 1)',
    marker = '(func (export "proxy_abi_version_0_2_1"))',
    malloc = '(func (export "malloc") (param i32) (result i32) i32.const 0)',
  } = {},
): string[] {
  const module = parseWat("test.wat", `(module ${more} ${memory} ${marker} ${malloc})`);
  return linkProblems(module.toBinary({}).buffer);
}

test("a module with what Envoy wants has no problems", () => {
  expect(problems('(import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))')).toEqual([]);
  expect(problems('(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 0)')).toEqual([]);
  expect(problems('(func (export "something_else") (param f64))')).toEqual([]);
});

test.each([
  ["an unknown import", '(import "env" "proxy_frobnicate" (func))', ["Envoy offers no import env.proxy_frobnicate"]],
  [
    "an import of another module",
    '(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))',
    ["Envoy offers no import wasi_snapshot_preview1.fd_write"],
  ],
  ["an imported memory", '(import "env" "buffer" (memory 1))', ["Envoy offers no import env.buffer"]],
  ["an imported global", '(import "env" "proxy_log" (global i32))', ["Envoy offers no import env.proxy_log"]],
  [
    "an import with too few parameters",
    '(import "env" "proxy_log" (func (param i32 i32) (result i32)))',
    ["the import env.proxy_log has another type than Envoy's"],
  ],
  ["an import without its result", '(import "env" "proxy_log" (func (param i32 i32 i32)))', ["the import env.proxy_log has another type than Envoy's"]],
  [
    "an import with a wrong width",
    '(import "env" "proxy_increment_metric" (func (param i32 i32) (result i32)))',
    ["the import env.proxy_increment_metric has another type than Envoy's"],
  ],
  [
    "a callback with another signature",
    '(func (export "proxy_on_request_headers") (param i32 i32) (result i32) i32.const 0)',
    ["the export proxy_on_request_headers has another signature than Envoy expects"],
  ],
  [
    "a callback without its result",
    '(func (export "proxy_on_configure") (param i32 i32))',
    ["the export proxy_on_configure has another signature than Envoy expects"],
  ],
  [
    "a callback that is no function",
    '(global (export "proxy_on_log") i32 (i32.const 0))',
    ["the export proxy_on_log has another signature than Envoy expects"],
  ],
  ["a start section", "(func $go) (start $go)", ["the module has a start section; Envoy runs it before the filter has a context"]],
  ["Date.now()", '(import "env" "Date.now" (func (result f64)))', ["Envoy offers no import env.Date.now (it comes from Date.now())"]],
  [
    "console.log()",
    '(import "env" "console.log" (func (param i32)))',
    ["Envoy offers no import env.console.log (it comes from console.log(): use log.info from envoyscript-sdk)"],
  ],
])("%s is a problem", (_, text, expected) => {
  expect(problems(text, text.includes("(memory") ? { memory: '(export "memory" (memory 0))' } : {})).toEqual(expected);
});

test.each([
  ["the ABI marker", { marker: "" }, "the ABI marker proxy_abi_version_0_2_1 is not exported"],
  ["another ABI version", { marker: '(func (export "proxy_abi_version_0_2_0"))' }, "the ABI marker proxy_abi_version_0_2_1 is not exported"],
  ["the memory", { memory: "(memory 1)" }, "the memory is not exported"],
  ["malloc", { malloc: "" }, "malloc is not exported"],
])("without %s Envoy refuses the module", (_, without, expected) => {
  expect(problems("", without)).toEqual([expected]);
});

test("every problem of a module is told at once", () => {
  expect(problems('(import "env" "a" (func)) (import "env" "b" (func))', { marker: "", malloc: "" }).length).toBe(4);
});
