import { describe, expect, test } from "vitest";
import { loadGuest } from "../../test/harness/guest.js";

const guest = loadGuest(`
  class Node {
    left: Node | null = null;
    right: Node | null = null;
    text: string = "";
    constructor(public key: u32, public bytes: Uint8Array) {}
  }
  let seed: u32 = 1;
  function random(below: u32): u32 {
    seed = seed * 1664525 + 1013904223;
    return (seed >>> 8) % below;
  }
  function make(largest: u32): Node {
    const node = new Node(random(0x7fffffff), new Uint8Array(random(largest)));
    for (let i = 0; i < node.bytes.length; i++) {
      // New memory is zero, whatever lay there before.
      if (node.bytes[i] != 0) unreachable();
      node.bytes[i] = <u8>(node.key + i);
    }
    node.text = node.key.toString();
    return node;
  }
  function isWhole(node: Node): bool {
    for (let i = 0; i < node.bytes.length; i++) if (node.bytes[i] != <u8>(node.key + i)) return false;
    return node.text == node.key.toString();
  }
  const slots = new Array<Node | null>(300);
  /** Objects come, hang on each other, and go; returns how many were damaged. */
  export function churn(turns: i32, largest: u32, start: u32): i32 {
    seed = start;
    let damaged = 0;
    for (let turn = 0; turn < turns; turn++) {
      const at = <i32>random(300);
      const old = slots[at];
      if (old !== null) {
        if (!isWhole(old)) damaged++;
        const left = old.left;
        if (left !== null && !isWhole(left)) damaged++;
        const right = old.right;
        if (right !== null && !isWhole(right)) damaged++;
      }
      const node = make(largest);
      if (random(3) == 0) node.left = make(largest);
      if (random(3) == 0) {
        const other = slots[<i32>random(300)];
        // One step only: chains would live for ever.
        if (other !== null) {
          node.right = other.right;
        }
      }
      slots[at] = random(5) == 0 ? null : node;
    }
    return damaged;
  }
  export function clear(): void {
    for (let i = 0; i < 300; i++) slots[i] = null;
    __collect();
  }
  export function pages(): i32 { return memory.size(); }

  /** A list that is long, so that marking must not recurse. */
  export function chain(length: i32): i32 {
    let head: Node | null = null;
    for (let i = 0; i < length; i++) {
      const node = new Node(<u32>i, new Uint8Array(0));
      node.left = head;
      head = node;
    }
    __collect();
    let count = 0;
    while (head !== null) {
      count += <i32>(head.key == <u32>(length - 1 - count));
      head = head.left;
    }
    return count;
  }
  /** Arrays grow by being moved, strings by being joined. */
  export function grows(): bool {
    const list: i32[] = [];
    let text = "";
    for (let i = 0; i < 20000; i++) {
      list.push(i);
      if (i % 10 == 0) text += "0123456789";
    }
    for (let i = 0; i < 20000; i++) if (list[i] != i || text.charCodeAt(i) != 48 + i % 10) return false;
    return true;
  }
  const fixed: StaticArray<string | null> = ["a", null, "c"];
  /** Static data may come to point to the heap. */
  export function statics(): string {
    fixed[1] = "b" + slots.length.toString();
    __collect();
    make(100000);
    __collect();
    return fixed[0]! + fixed[1]! + fixed[2]!;
  }
  /** Memory outside of the collector's reach. */
  export function manual(): bool {
    const a = heap.alloc(100000);
    memory.fill(a, 7, 100000);
    for (let i = 0; i < 50; i++) make(50000);
    __collect();
    const same = load<u8>(a) == 7 && load<u8>(a + 99999) == 7;
    heap.free(a);
    return same;
  }
`);
const f = guest.exports as Record<string, (...args: number[]) => number>;

describe("heap", () => {
  test.each([
    ["small", 60, 20_000],
    ["medium", 4000, 1500],
    ["large", 60_000, 300],
  ])("%s objects survive while something points to them, and their memory is used again", (_, largest, turns) => {
    expect(f.churn!(turns, largest, 7)).toBe(0);
    for (let start = 1; start <= 5; start++) expect(f.churn!(turns, largest, start)).toBe(0);
    // A collection comes when as much again was allocated.
    const alive = 300 * ((largest / 2) * (4 / 3) + 150);
    expect(f.pages!() * 65536).toBeLessThan(3 * alive + 512 * 1024);
    f.clear!();
  });

  test("a chain of 200,000 objects is marked", () => expect(f.chain!(200_000)).toBe(200_000));
  test("arrays and strings grow", () => expect(f.grows!()).toBe(1));
  test("static data points to the heap", () => expect(guest.take(f.statics!())).toBe("ab300c"));
  test("memory that is no object stays until it is freed", () => expect(f.manual!()).toBe(1));
});
