// A guarded module does what the one it was made of does, and its loops end.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import wabt from "wabt";
import { PROBES } from "../../test/conformance/probes.js";
import { build } from "../compiler/index.js";
import { guard } from "./watchdog.js";

const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-watchdog-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const { parseWat } = await wabt();
const assemble = (text: string): Uint8Array => parseWat("a.wat", text, { exceptions: true, tail_call: true, threads: true }).toBinary({}).buffer;

type Exports = Record<string, (...args: number[]) => number>;

function instantiate(bytes: Uint8Array): { exports: Exports; budget: { value: number } | undefined } {
  const { bytes: guarded, budgetName, startName } = guard(bytes);
  const instance = new WebAssembly.Instance(new WebAssembly.Module(guarded as Uint8Array<ArrayBuffer>), {});
  if (startName !== undefined) (instance.exports[startName] as () => void)();
  return { exports: instance.exports as never, budget: budgetName === undefined ? undefined : (instance.exports[budgetName] as never) };
}

const PROGRAM = `(module
  (type $binary (func (param i32 i32) (result i32)))
  (global $seen (mut i32) (i32.const 0))
  (table 2 funcref) (elem (i32.const 0) $sum $gcd)
  (func $sum (type $binary) (local $i i32) (local $s i32)
    (block $out (loop $again
      (br_if $out (i32.ge_s (local.get $i) (local.get 1)))
      (local.set $s (i32.add (local.get $s) (i32.xor (local.get 0) (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $again)))
    (local.get $s))
  (func $gcd (type $binary)
    (if (result i32) (i32.eqz (local.get 1)) (then (local.get 0)) (else (call $gcd (local.get 1) (i32.rem_u (local.get 0) (local.get 1))))))
  (func (export "pick") (param i32 i32 i32) (result i32)
    (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
    (call_indirect (type $binary) (local.get 1) (local.get 2) (i32.and (local.get 0) (i32.const 1))))
  (func (export "branch") (param i32) (result i32) (local $n i32)
    (loop $top
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (block $c (block $b (block $a (br_table $a $b $c (i32.and (local.get 0) (i32.const 3)))) (local.set 0 (i32.shr_u (local.get 0) (i32.const 2))) (br $top)) (local.set $n (i32.add (local.get $n) (i32.const 100)))))
    (local.get $n))
  (func (export "seen") (result i32) (global.get $seen))
  (func (export "for ever") (loop $l (br $l)))
  (memory 16 16 shared)
  (func (export "fill") (loop $l (memory.fill (i32.const 0) (i32.const 7) (i32.const 100000)) (br $l)))
  (func (export "copy") (loop $l (memory.copy (i32.const 0) (i32.const 9) (i32.const 100000)) (br $l)))
  (func (export "tables") (loop $l (table.copy (i32.const 0) (i32.const 1) (i32.const 1)) (br $l)))
  (func (export "one fill") (memory.fill (i32.const 0) (i32.const 7) (i32.const 200000)))
  (func (export "one copy") (memory.copy (i32.const 0) (i32.const 9) (i32.const 200000)))
  (func (export "wait") (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
  (func (export "waits") (loop $l (drop (memory.atomic.wait64 (i32.const 0) (i64.const 0) (i64.const 1000))) (br $l)))
  (func (export "moved") (param i32) (result i32)
    (memory.fill (i32.const 64) (i32.const 0) (i32.const 64))
    (memory.fill (i32.const 64) (local.get 0) (i32.const 8))
    (memory.copy (i32.const 70) (i32.const 64) (i32.const 8))
    (i32.load (i32.const 75)))
  (func $down (export "recurse") (param i32) (result i32) (call $down (i32.add (local.get 0) (i32.const 1)))))`;

describe("a guarded module", () => {
  const bytes = assemble(PROGRAM);
  const plain = new WebAssembly.Instance(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>)).exports as unknown as Exports;
  const { exports, budget } = instantiate(bytes);

  test("gives the same results", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1 }), fc.nat(1000), fc.nat(200), fc.integer({ min: 0, max: 0xffff }), (which, a, b, c) => {
        budget!.value = 1_000_000;
        expect(exports.pick!(which, a, b)).toBe(plain.pick!(which, a, b));
        // Two zero bits would turn for ever where nothing is left.
        const bits = c | 0x10000;
        expect(exports.branch!(bits)).toBe(plain.branch!(bits));
        expect(exports.seen!()).toBe(plain.seen!());
        expect(exports.moved!(c)).toBe(plain.moved!(c));
      }),
    );
  });

  test.each(["for ever", "recurse", "fill", "copy", "one fill", "one copy", "tables", "waits", "wait"])("ends %s when its budget is used up", (name) => {
    budget!.value = 5000;
    expect(() => exports[name]!(0)).toThrow(WebAssembly.RuntimeError);
    budget!.value = 5000;
    expect(exports.pick!(1, 12, 18)).toBe(6);
  });
});

test.each([
  ["exceptions", `(module (tag $t (param i32)) (func (export "f") (result i32) (try (result i32) (do (throw $t (i32.const 7))) (catch $t))))`, 7],
  ["no globals and no exports before", `(module (func $f (result i32) (loop (result i32) (i32.const 3))) (func (export "f") (result i32) (call $f)))`, 3],
  ["globals of its own", `(module (global $a i32 (i32.const 4)) (func (export "f") (result i32) (loop (result i32) (global.get $a))))`, 4],
  [
    "a start section",
    `(module (global $a (mut i32) (i32.const 4)) (func $s (global.set $a (i32.const 9))) (start $s) (func (export "f") (result i32) (global.get $a)))`,
    9,
  ],
  [
    "the names that are given",
    `(module (func (export "envoyscript budget") (result i32) (i32.const 2)) (func $s) (start $s) (func (export "envoyscript start")) (func (export "f") (result i32) (i32.const 5)))`,
    5,
  ],
  ["a memory with a ceiling of its own", `(module (memory 1 2) (func (export "f") (result i32) (memory.grow (i32.const 2))))`, -1],
  ["a memory that Envoy's ceiling stops", `(module (memory 1) (func (export "f") (result i32) (memory.grow (i32.const 16384))))`, -1],
  ["a memory up to Envoy's ceiling", `(module (memory 1) (func (export "f") (result i32) (memory.grow (i32.const 16383))))`, 1],
])("%s", (_what, text, result) => {
  const { exports, budget } = instantiate(assemble(text));
  budget!.value = 1000;
  expect(exports.f!()).toBe(result);
});

const EXAMPLES = path.resolve(import.meta.dirname, "../../guest/examples");

test.each([
  ...readdirSync(path.join(PROBES, "wat")).map((name) => path.join(PROBES, "wat", name)),
  path.join(PROBES, "recorder.wasm"),
  ...["auth.ts"].map((name) => path.join(EXAMPLES, name)),
])("a real module stays valid: %s", (file) => {
  const bytes = file.endsWith(".ts") ? build([file], { cwd: EXAMPLES }).wasm : readFileSync(file);
  const { bytes: guarded, budgetName, startName } = guard(bytes);
  const before = new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  const after = new WebAssembly.Module(guarded as Uint8Array<ArrayBuffer>);
  expect(WebAssembly.Module.imports(after)).toEqual(WebAssembly.Module.imports(before));
  const added = [
    ...(budgetName === undefined ? [] : [{ name: budgetName, kind: "global" }]),
    ...(startName === undefined ? [] : [{ name: startName, kind: "function" }]),
  ];
  expect(WebAssembly.Module.exports(after)).toEqual([...WebAssembly.Module.exports(before), ...added]);
  // A module without code has nothing to count.
  if (budgetName === undefined) expect(WebAssembly.Module.exports(before).filter(({ kind }) => kind === "function")).toEqual([]);
});

test.each([
  ["nothing", new Uint8Array(0)],
  ["no module", Buffer.from("this is no module at all")],
  ["half a module", assemble(PROGRAM).subarray(0, 60)],
])("%s stays as it is", (_what, bytes) => {
  expect(guard(bytes)).toMatchObject({ bytes, budgetName: undefined });
});
