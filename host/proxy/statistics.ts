// Statistics as Envoy's admin port shows them: those of wasm filters, and the usual few of listeners and clusters.
import { type MetricStore, MetricType, type Stat } from "../vm/metrics.js";

interface Line {
  name: string;
  type: "counter" | "gauge" | "histogram";
  value: bigint;
  samples: number[];
}

const TYPES = ["counter", "gauge", "histogram"] as const;

const QUANTILES = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1];

export interface Counter {
  value: number;
}

/** Responses of a listener or a cluster, by class and perhaps by status. */
export interface ResponseCounters {
  charge(status: number): void;
}

export class Statistics {
  private readonly own = new Map<string, { type: "counter" | "gauge"; value: () => number }>();
  private readonly counters = new Map<string, Counter & { type: "counter" | "gauge" }>();

  constructor(private readonly metrics: MetricStore) {}

  counter(name: string, type: "counter" | "gauge" = "counter"): Counter {
    const found = this.counters.get(name) ?? { value: 0, type };
    this.counters.set(name, found);
    return found;
  }

  /** `${scope}_completed`, `${scope}_2xx` and so on. envoy 1.40: a listener has all classes from the start, a cluster has what it has seen, and each status too. */
  responses(scope: string, of: "listener" | "cluster"): ResponseCounters {
    const completed = this.counter(`${scope}_completed`);
    const classes = of === "listener" ? [1, 2, 3, 4, 5].map((digit) => this.counter(`${scope}_${digit}xx`)) : undefined;
    const seen = new Map<number, Counter[]>();
    return {
      charge: (status) => {
        completed.value++;
        let counters = seen.get(status);
        if (!counters) {
          const digit = Math.floor(status / 100);
          counters = classes ? classes.slice(digit - 1, digit) : [this.counter(`${scope}_${digit}xx`), this.counter(`${scope}_${status}`)];
          seen.set(status, counters);
        }
        for (const counter of counters) counter.value++;
      },
    };
  }

  /** A value that is asked for when somebody looks. */
  watch(name: string, type: "counter" | "gauge", value: () => number): void {
    this.own.set(name, { type, value });
  }

  /** Histograms show what was recorded until now. */
  flush(): void {
    for (const stat of this.metrics.all()) stat.merged = stat.samples.length;
  }

  private lines(filter: RegExp): Line[] {
    const lines: Line[] = this.metrics.all().map(lineOf);
    for (const [name, { value, type }] of this.counters) lines.push({ name, type, value: BigInt(value), samples: [] });
    for (const [name, { type, value }] of this.own) lines.push({ name, type, value: BigInt(value()), samples: [] });
    return lines.filter(({ name }) => filter.test(name));
  }

  /** envoy 1.40: counters and gauges sorted together (a gauge hides a counter of its name), then histograms. */
  text(filter: RegExp, types: string): string {
    const lines = this.lines(filter);
    const simple = new Map<string, string>();
    for (const line of lines.filter((l) => l.type !== "histogram")) {
      if (types !== "all" && !types.startsWith(line.type)) continue;
      if (line.type === "counter" && lines.some((other) => other.type === "gauge" && other.name === line.name)) continue;
      simple.set(line.name, `${line.name}: ${line.value}\n`);
    }
    const histograms = lines.filter((line) => line.type === "histogram" && (types === "all" || types.startsWith("histogram")));
    return [
      ...[...simple].sort(byName).map(([, text]) => text),
      ...histograms
        .map((line): [string, string] => [line.name, histogramText(line)])
        .sort(byName)
        .map(([, text]) => text),
    ].join("");
  }

  json(filter: RegExp): { name: string; value: number }[] {
    return this.lines(filter)
      .filter((line) => line.type !== "histogram")
      .map(({ name, value }) => ({ name, value: Number(value) }));
  }

  prometheus(filter: RegExp): string {
    const lines = this.lines(filter).sort((a, b) => byName([a.name, a], [b.name, b]));
    let text = "";
    for (const type of TYPES) {
      // envoy 1.40: in the order of the names without their tags, before they are made Prometheus's.
      const metrics = new Map<string, string>();
      for (const line of lines) {
        if (line.type !== type) continue;
        const { bare, tags } = withoutTags(line.name);
        const name = prometheusName(bare);
        const own = type === "histogram" ? buckets(name, line) : `${name}{${tags}} ${line.value}\n`;
        metrics.set(bare, (metrics.get(bare) ?? `# TYPE ${name} ${type}\n`) + own);
      }
      text += [...metrics]
        .sort(byName)
        .map(([, metric]) => metric)
        .join("");
    }
    return text;
  }
}

const byName = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : a > b ? 1 : 0);

function lineOf(stat: Stat): Line {
  return {
    name: stat.name === "" ? "wasmcustom" : `wasmcustom.${stat.name}`,
    type: stat.type === MetricType.Counter ? "counter" : stat.type === MetricType.Gauge ? "gauge" : "histogram",
    value: stat.value,
    samples: stat.samples.slice(0, stat.merged),
  };
}

/** envoy 1.40: what goes from a statistic's name into tags. Each pattern's groups: before, the tag's value, after. */
const TAGS: [string, RegExp][] = [
  ["envoy_response_code", /^(cluster\..*\.upstream_rq)_(\d{3})()$/],
  ["envoy_response_code_class", /^(.*_rq_)(\d)(xx)$/],
  ["envoy_cluster_name", /^(cluster)\.(.*?)(\.upstream_\w+)$/],
  ["envoy_http_conn_manager_prefix", /^(http)\.(.*?)(\.downstream_\w+)$/],
];

const WASM = "wasmcustom.";

function withoutTags(name: string): { bare: string; tags: string } {
  const tags: string[] = [];
  let bare = name;
  for (const [tag, pattern] of name.startsWith(WASM) ? [] : TAGS) {
    const match = pattern.exec(bare);
    if (!match) continue;
    tags.push(`${tag}="${match[2]}"`);
    bare = `${match[1]}${match[3]}`;
  }
  return { bare, tags: tags.join(",") };
}

/** envoy 1.40: names of wasm's own namespace go without it, all others get "envoy_". */
const prometheusName = (bare: string): string => (bare.startsWith(WASM) ? bare.slice(WASM.length) : `envoy_${bare}`).replace(/[^a-zA-Z0-9_]/g, "_");

function histogramText({ name, samples }: Line): string {
  if (samples.length === 0) return `${name}: No recorded values\n`;
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  return `${name}: ${QUANTILES.map((q) => `P${q * 100}(${at(q)},${at(q)})`).join(" ")}\n`;
}

const BUCKETS = [0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000];

/** Only guests have histograms, and those have no tags. */
function buckets(name: string, { samples }: Line): string {
  const sum = samples.reduce((total, sample) => total + sample, 0);
  const lines = BUCKETS.map((limit) => `${name}_bucket{le="${limit}"} ${samples.filter((sample) => sample <= limit).length}`);
  return `${[...lines, `${name}_bucket{le="+Inf"} ${samples.length}`, `${name}_sum{} ${sum}`, `${name}_count{} ${samples.length}`].join("\n")}\n`;
}
