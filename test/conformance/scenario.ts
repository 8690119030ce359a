// A scenario: plugins, clients and upstreams to run on an engine, and what was observed of them. Recorded ones are in traces/.

export interface PluginSpec {
  name?: string;
  root_id?: string;
  vm_id?: string;
  /** A file of probes/ without its ending; default "recorder". */
  module?: string;
  /** An absolute path instead. */
  wasm?: string;
  /** The recorder's script: the plugin's configuration. */
  script?: string;
  vm_script?: string;
  /** allow_on_headers_stop_iteration */
  allow_stop?: boolean;
  filter_name?: string;
  /** Further fields of PluginConfig, VmConfig and HttpFilter. */
  plugin?: object;
  vm?: object;
  filter?: object;
}

/** Text to write, milliseconds to wait, "@rep N c", "@reset", "@close". */
export type Step = string | number;

export interface Http2Request {
  headers: Record<string, string>;
  body?: Step[];
  trailers?: Record<string, string>;
  at?: number;
  wait?: number;
  keepOpen?: boolean;
}

export interface ClientSpec {
  /** Milliseconds after the start. */
  at?: number;
  send?: Step[];
  wait?: number;
  /** What comes back is HTTP/2: it is shown frame by frame. */
  frames?: boolean;
  h2?: Http2Request[];
  /** Index of the plugin version to push. */
  ecds?: number;
  /** A path of the admin port to ask. */
  admin?: string;
  method?: string;
}

export interface Http1Behaviour {
  /** "headers": answers as soon as the request's headers are there. */
  on?: "headers";
  respond?: Step[];
}

export interface Http2Behaviour {
  on?: "headers";
  hang?: boolean;
  open?: boolean;
  rst?: number;
  rstAfter?: number;
  trailersOnly?: Record<string, string | number>;
  headers?: Record<string, string>;
  trailers?: Record<string, string>;
  messages?: Step[];
}

export interface Scenario {
  id: string;
  topic?: string;
  about?: string;
  plugins?: PluginSpec[];
  upstream_filters?: PluginSpec[];
  filters_before?: object[];
  filters_after?: object[];
  /** Versions of a plugin that comes by ECDS. */
  ecds?: PluginSpec[];
  clients?: ClientSpec[];
  upstream?: {
    up?: Step[] | Step[][] | Http1Behaviour | Http1Behaviour[];
    alt?: Step[] | Step[][] | Http1Behaviour | Http1Behaviour[];
    h2up?: Http2Behaviour;
    tcp?: Step[];
  };
  routes?: object[];
  virtual_hosts?: object[];
  clusters?: object[];
  hcm?: object;
  listener?: object;
  bootstrap?: object;
  up_options?: object;
  tcp?: boolean;
  access_log?: string;
  logger_script?: string;
  wasm_log?: string;
  concurrency?: number;
  /** Lines of the main thread count too. */
  full?: boolean;
  keep_log?: string;
  stats?: string[];
  settle?: number;
  linger?: number;
  term_at?: number;
  env?: Record<string, string>;
  args?: string[];
  /** Its bytes or their order change from run to run. */
  volatile?: boolean;
}

export interface ClientObservation {
  raw?: string;
  error?: string;
  closed_by_envoy?: boolean;
  streams?: { headers?: Record<string, unknown>; trailers?: Record<string, unknown>; body?: string; rst?: number | undefined; timeout?: boolean }[];
  code?: number;
  body?: string;
}

export interface Observation {
  started: boolean;
  exit?: number | string | null;
  responses?: ClientObservation[];
  stats?: Record<string, string[]> | string;
  log: string[];
  access_log: string[];
  upstream: Record<string, unknown[]>;
}

export interface Trace {
  scenario: Scenario;
  observed: Observation;
}
