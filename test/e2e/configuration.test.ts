// Configurations: every kind of field, what is refused and how that is said, and many configurations in one living VM.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { filterEntry } from "../../host/envoy/bootstrap.js";
import { buildModule } from "../harness/build.js";
import { send } from "../harness/client.js";
import { startTestEnvoy } from "../harness/envoy.js";

const FIELDS = `
import { Duration, Filter, Stream, cluster, filter, oneOf, range, required } from "envoyscript-sdk";

class Limit {
  @required path: string = "";
  perSecond: u32 = 10;
  tags: string[] = [];
}
class Config {
  text: string = "default";
  flag: bool = true;
  small: i8 = -1;
  byte: u8 = 7;
  count: i32 = 3;
  big: i64 = 4;
  huge: u64 = 5;
  ratio: f64 = 0.5;
  @range(1, 100) percent: i32 = 50;
  @oneOf(["low", "high"]) level: string = "low";
  @oneOf([1, 2, 4]) step: i32 = 1;
  @range(1, 3) short: string = "ab";
  @range(0, 2) few: string[] = [];
  wait: Duration = new Duration(1500);
  limit: Limit | null = null;
  limits: Limit[] = [];
  by: Map<string, Limit> = new Map();
  names: Map<string, string> = new Map();
  numbers: f64[] = [];
  grid: i32[][] = [];
  maybe: string | null = null;
  @cluster backend: string = "none";
}

@filter("fields")
export class Fields extends Filter<Config> {
  handle(stream: Stream): void {
    const c = this.config;
    const parts: string[] = [];
    parts.push(c.text); parts.push(c.flag.toString()); parts.push(c.small.toString()); parts.push(c.byte.toString()); parts.push(c.count.toString());
    parts.push(c.big.toString()); parts.push(c.huge.toString()); parts.push(c.ratio.toString()); parts.push(c.percent.toString()); parts.push(c.level);
    parts.push(c.step.toString()); parts.push(c.short); parts.push(c.few.join("+")); parts.push(c.wait.ms.toString());
    const limit = c.limit;
    parts.push(limit === null ? "null" : limit.path + limit.perSecond.toString() + limit.tags.join("+"));
    const limits: string[] = [];
    for (let i = 0; i < c.limits.length; i++) limits.push(c.limits[i].path + c.limits[i].perSecond.toString());
    parts.push(limits.join("+"));
    const keys = c.by.keys();
    const by: string[] = [];
    for (let i = 0; i < keys.length; i++) by.push(keys[i] + "=" + c.by.get(keys[i]).path);
    parts.push(by.join("+"));
    parts.push(c.names.has("a") ? c.names.get("a") : "-");
    const numbers: string[] = [];
    for (let i = 0; i < c.numbers.length; i++) numbers.push(c.numbers[i].toString());
    parts.push(numbers.join("+"));
    parts.push(c.grid.length == 0 ? "-" : c.grid[c.grid.length - 1].join("+"));
    const maybe = c.maybe;
    parts.push(maybe === null ? "null" : maybe); parts.push(c.backend);
    stream.reply(200, parts.join(" "));
  }
}`;

describe("fields", () => {
  const shows = async (config: unknown, wanted: string) => {
    const envoy = await startTestEnvoy({ filter: FIELDS, config });
    try {
      expect((await send(envoy.url)).text).toBe(wanted);
    } finally {
      await envoy.close();
    }
  };

  test("have their defaults", () => shows({}, "default true -1 7 3 4 5 0.5 50 low 1 ab  1500 null   -  - null none"));

  test("of every type are read", () =>
    shows(
      {
        text: 'x"ü😀\n',
        flag: false,
        small: -128,
        byte: 255,
        count: -2147483648,
        big: -9007199254740991,
        huge: 9007199254740991,
        ratio: -1.25e2,
        percent: 100,
        level: "high",
        step: 4,
        short: "abc",
        few: ["p", "q"],
        wait: "1.5m",
        limit: { path: "/l", perSecond: 1, tags: ["t", "u"] },
        limits: [{ path: "/1" }, { path: "/2", perSecond: 2 }],
        by: { one: { path: "/x" }, two: { path: "/y" } },
        names: { a: "b" },
        numbers: [1, 2.5],
        grid: [[1], [2, 3]],
        maybe: "there",
        backend: "users",
      },
      'x"ü😀\n false -128 255 -2147483648 -9007199254740991 9007199254740991 -125.0 100 high 4 abc p+q 90000 /l1t+u /110+/22 one=/x+two=/y b 1.0+2.5 2+3 there users',
    ));

  test("null where a field may be null; durations in all their forms", async () => {
    await shows({ limit: null, maybe: null, wait: 250 }, "default true -1 7 3 4 5 0.5 50 low 1 ab  250 null   -  - null none");
    await shows({ wait: "250ms" }, "default true -1 7 3 4 5 0.5 50 low 1 ab  250 null   -  - null none");
    await shows({ wait: "2h" }, "default true -1 7 3 4 5 0.5 50 low 1 ab  7200000 null   -  - null none");
  });

  // One Envoy tells each apart: refused at start, with the path and the reason.
  test.each<[unknown, RegExp]>([
    [{ text: 1 }, /\btext: expected a string, got 1/],
    [{ text: null }, /\btext: expected a string, got null/],
    [{ flag: "yes" }, /\bflag: expected true or false, got yes/],
    [{ small: 128 }, /\bsmall: expected a number from -128 to 127, got 128/],
    [{ byte: -1 }, /\bbyte: expected a number from 0 to 255, got -1/],
    [{ count: 1.5 }, /\bcount: expected a whole number, got 1\.5/],
    [{ count: "3" }, /\bcount: expected a number, got 3/],
    [{ ratio: [] }, /\bratio: expected a number, got an array/],
    [{ percent: 101 }, /\bpercent: .*must be from 1 to 100, got 101/],
    [{ level: "middle" }, /\blevel: must be one of "low", "high", got "middle"/],
    [{ step: 3 }, /\bstep: must be one of 1, 2, 4, got 3/],
    [{ short: "" }, /\bshort: .*must be from 1 to 3, got 0/],
    [{ few: ["a", "b", "c"] }, /\bfew: .*must be from 0 to 2, got 3/],
    [{ wait: "1 fortnight" }, /\bwait: expected a time like/],
    [{ wait: -1 }, /\bwait: expected a time like/],
    [{ limit: {} }, /\blimit\.path: is required/],
    [{ limit: [] }, /\blimit: expected an object, got an array/],
    [{ limits: [{ path: "/a" }, { path: 2 }] }, /\blimits\[1\]\.path: expected a string, got 2/],
    [{ limits: { path: "/a" } }, /\blimits: expected an array, got an object/],
    [{ by: { one: { path: "/a", tags: ["x", 1] } } }, /\bby\.one\.tags\[1\]: expected a string, got 1/],
    [{ by: [] }, /\bby: expected an object, got an array/],
    [{ grid: [[1], ["x"]] }, /\bgrid\[1\]\[0\]: expected a number, got x/],
    [{ txet: "typo" }, /\btxet: there is no such field \(fields: text, flag/],
    [{ text: 1, count: "x" }, /text: expected a string, got 1; .*count: expected a number, got x/],
    [[], /expected an object, got an array/],
  ])("%j is refused", async (config, why) => {
    await expect(startTestEnvoy({ filter: FIELDS, config })).rejects.toThrow(why);
  });
});

const GREETER = `
import { Filter, Stream, filter, required } from "envoyscript-sdk";
class Config { @required greeting: string = ""; path: string = "/"; }
@filter("greeter")
export class Greeter extends Filter<Config> {
  served: i32 = 0;
  handle(stream: Stream): void {
    this.served++;
    stream.request.headers.append("x-greeting", this.config.greeting);
    if (stream.request.headers.has("x-wait")) stream.fetch("other", this.config.path);
    stream.next();
    stream.response.headers.append("x-served", this.config.greeting + this.served.toString());
  }
}`;

describe("several configurations in one VM", () => {
  test("two plugins with the same code and vm_id, in one chain: each keeps to its own", async () => {
    const wasm = buildModule(GREETER);
    const entry = (greeting: string) => filterEntry({ name: greeting, wasm, vmId: "shared", config: { greeting } });
    const router = { name: "envoy.filters.http.router", typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } };
    const envoy = await startTestEnvoy({
      filter: wasm,
      config: { greeting: "unused" },
      hcm: { http_filters: [entry("hello"), entry("hallo"), router] },
      clusters: { other: (_, response) => void response.end() },
    });
    try {
      // Base, main thread and worker; a second plugin in the same VM adds none.
      expect(await envoy.stat("wasm.envoy.wasm.runtime.v8.active")).toBe(3);
      for (let i = 1; i <= 3; i++) {
        const answer = await send(envoy.url, { headers: { "x-wait": "1" } });
        expect(JSON.parse(answer.text).headers["x-greeting"]).toBe("hello, hallo");
        expect(answer.headers["x-served"]).toBe(`hallo${i}, hello${i}`);
      }
    } finally {
      await envoy.close();
    }
  });

  test("a pushed configuration (ECDS) serves new streams in the same VM; streams in flight end with the old one; a wrong one is refused", async () => {
    const wasm = buildModule(GREETER);
    const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-ecds-"));
    const file = path.join(directory, "ecds.json");
    let version = 0;
    /** Envoy notices a file that is moved into place. */
    const push = (config: unknown) => {
      const { name, typed_config } = filterEntry({ name: "pushed", wasm, vmId: "pushed", config }) as { name: string; typed_config: object };
      const resource = { "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", name, typed_config };
      writeFileSync(`${file}.new`, JSON.stringify({ version_info: String(++version), resources: [resource] }));
      renameSync(`${file}.new`, file);
    };
    push({ greeting: "one" });
    const router = { name: "envoy.filters.http.router", typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } };
    let answerCall: (() => void) | undefined;
    let called: () => void = () => {};
    const envoy = await startTestEnvoy({
      filter: wasm,
      config: { greeting: "unused" },
      hcm: {
        http_filters: [
          {
            name: "pushed",
            config_discovery: {
              config_source: { path_config_source: { path: file, watched_directory: { path: directory } }, resource_api_version: "V3" },
              type_urls: ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
            },
          },
          router,
        ],
      },
      clusters: {
        other: (_, response) => {
          answerCall = () => response.end();
          called();
        },
      },
    });
    const statistic = (name: string) => envoy.stat(`extension_config_discovery.http_filter.pushed.${name}`);
    const until = async (name: string, wanted: number) => {
      while ((await statistic(name)) < wanted) await new Promise((resolve) => setImmediate(resolve));
    };
    const greeting = async () => {
      const answer = await send(envoy.url);
      return [JSON.parse(answer.text).headers["x-greeting"], answer.headers["x-served"]];
    };
    try {
      expect(await greeting()).toEqual(["one", "one1"]);
      const waiting = send(envoy.url, { headers: { "x-wait": "1" } });
      await new Promise<void>((resolve) => (called = resolve));

      const created = await envoy.stat("wasm.envoy.wasm.runtime.v8.active");
      push({ greeting: "two" });
      await until("config_reload", 2);
      // The worker gets it a moment later.
      let seen = await greeting();
      while (seen[0] === "one") seen = await greeting();
      expect(seen).toEqual(["two", "two1"]);
      expect(await envoy.stat("wasm.envoy.wasm.runtime.v8.active")).toBe(created);

      answerCall!();
      const old = await waiting;
      expect(JSON.parse(old.text).headers["x-greeting"]).toBe("one");
      expect(old.headers["x-served"]).toMatch(/^one\d+$/);

      push({ greting: "three" });
      await until("config_fail", 1);
      await envoy.logged(/error .*configuration refused: .*greting: there is no such field/);
      expect((await greeting())[0]).toBe("two");

      for (let i = 0; i < 20; i++) {
        push({ greeting: `n${i}` });
        let now = await greeting();
        while (now[0] !== `n${i}`) now = await greeting();
        expect(now).toEqual([`n${i}`, `n${i}1`]);
      }
      expect(await envoy.stat("wasm.envoy.wasm.runtime.v8.active")).toBe(created);
    } finally {
      await envoy.close();
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
