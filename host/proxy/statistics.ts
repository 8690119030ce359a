// Statistics as Envoy's admin port shows them: those of wasm filters, and the usual few of listeners and clusters.
import type { Distribution, Histogram } from "../vm/histogram.js";
import { type MetricStore, MetricType, type Stat } from "../vm/metrics.js";

interface Line {
  name: string;
  type: "counter" | "gauge" | "histogram";
  value: bigint;
  used: boolean;
  histogram?: Histogram | undefined;
}

/** Which statistics somebody wants to see. */
export interface Selection {
  /** All where it is not given. */
  name?: ((name: string) => boolean) | undefined;
  type?: Line["type"] | undefined;
  /** Only those that were ever changed; of what the engine itself counts, those that are not 0. */
  usedOnly?: boolean;
  /** How histograms are shown. */
  buckets?: "summary" | "cumulative" | "disjoint" | undefined;
}

const TYPES = ["counter", "gauge", "histogram"] as const;

const QUANTILES = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1];
const PERCENTS = [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100];

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
    for (const { histogram } of this.metrics.all()) histogram?.flush();
  }

  private lines({ name: wanted, usedOnly }: Selection): Line[] {
    const lines: Line[] = this.metrics.all().map(lineOf);
    for (const [name, { value, type }] of this.counters) lines.push({ name, type, value: BigInt(value), used: value !== 0 });
    for (const [name, { type, value }] of this.own) {
      const present = value();
      lines.push({ name, type, value: BigInt(present), used: present !== 0 });
    }
    return lines.filter(({ name, used }) => (used || !usedOnly) && (wanted === undefined || wanted(name))).sort(byName);
  }

  /** envoy 1.40: counters and gauges together, where a gauge hides a counter of its name, and histograms after them. */
  private shown(selection: Selection): { simple: Line[]; histograms: Line[] } {
    const lines = this.lines(selection).filter(({ type }) => selection.type === undefined || type === selection.type);
    const gauges = new Set(lines.filter(({ type }) => type === "gauge").map(({ name }) => name));
    return {
      simple: lines.filter(({ type, name }) => type === "gauge" || (type === "counter" && !gauges.has(name))),
      histograms: lines.filter(({ type }) => type === "histogram"),
    };
  }

  text(selection: Selection): string {
    const { simple, histograms } = this.shown(selection);
    return [...simple.map(({ name, value }) => `${name}: ${value}\n`), ...histograms.map((line) => histogramText(line, selection.buckets ?? "summary"))].join(
      "",
    );
  }

  json(selection: Selection): object[] {
    const { simple, histograms } = this.shown(selection);
    const stats: object[] = simple.map(({ name, value }) => ({ name, value: Number(value) }));
    if (histograms.length > 0) {
      const computed = histograms.map(({ name, histogram }) => {
        const [cumulative, interval] = [histogram!.cumulative, histogram!.interval].map((distribution) => distribution.quantiles(QUANTILES));
        // NaN is null in JSON.
        return { name, values: cumulative!.map((value, i) => ({ cumulative: value, interval: interval![i] })) };
      });
      stats.push({ histograms: { supported_quantiles: PERCENTS, computed_quantiles: computed } });
    }
    return stats;
  }

  prometheus(selection: Selection): string {
    const lines = this.lines(selection);
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
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, metric]) => metric)
        .join("");
    }
    return text;
  }
}

const byName = (a: Line, b: Line): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

function lineOf(stat: Stat): Line {
  return {
    name: stat.name === "" ? "wasmcustom" : `wasmcustom.${stat.name}`,
    type: stat.type === MetricType.Counter ? "counter" : stat.type === MetricType.Gauge ? "gauge" : "histogram",
    value: stat.value,
    // envoy 1.40: a histogram is, when it has been merged.
    used: stat.histogram ? stat.histogram.cumulative.count > 0 : stat.used,
    histogram: stat.histogram,
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

/** As C's "%g". */
const short = (value: number): string => (value >= 1e6 ? value.toExponential().replace(/e\+(\d)$/, "e+0$1") : String(value));

/** A number as C++'s fmt writes it. */
const number = (value: number): string => (Number.isNaN(value) ? "nan" : value >= 1e16 ? value.toExponential() : String(value));

function histogramText({ name, histogram }: Line, kind: NonNullable<Selection["buckets"]>): string {
  const { cumulative, interval } = histogram!;
  if (cumulative.count === 0) return `${name}: No recorded values\n`;
  if (kind !== "summary") {
    const shown = BUCKETS.map((limit, i) => {
      const count = (of: Distribution) => of.upTo(limit) - (kind === "disjoint" && i > 0 ? of.upTo(BUCKETS[i - 1]!) : 0);
      return `B${short(limit)}(${count(interval)},${count(cumulative)})`;
    });
    return `${name}: ${shown.join(" ")}\n`;
  }
  const recent = interval.quantiles(QUANTILES);
  return `${name}: ${cumulative
    .quantiles(QUANTILES)
    .map((value, i) => `P${PERCENTS[i]}(${number(recent[i]!)},${number(value)})`)
    .join(" ")}\n`;
}

const BUCKETS = [0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000];

/** As C's "%.32g": a tie goes to the even digit, where JavaScript's goes up. */
function exact(value: number): string {
  const digits = value.toPrecision(33);
  const isTie = digits.endsWith("5") && Number(value.toPrecision(80)) === value && /50*$/.test(value.toPrecision(80).slice(digits.length - 1));
  const isEven = "02468".includes(digits.at(-2)!);
  return (isTie && isEven ? digits.slice(0, -1) : value.toPrecision(32)).replace(/\.?0+$/, "");
}

/** Only guests have histograms, and those have no tags. */
function buckets(name: string, { histogram }: Line): string {
  const { cumulative } = histogram!;
  const lines = BUCKETS.map((limit) => `${name}_bucket{le="${limit}"} ${cumulative.upTo(limit)}`);
  return `${[...lines, `${name}_bucket{le="+Inf"} ${cumulative.count}`, `${name}_sum{} ${exact(cumulative.sum)}`, `${name}_count{} ${cumulative.count}`].join("\n")}\n`;
}
