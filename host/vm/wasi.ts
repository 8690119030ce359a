// WASI as envoy 1.40 answers it: enough for a language's runtime to start, nothing that touches the machine (facts/envoy-wasm.md A5, envoy-verified.md H11).
import { randomFillSync } from "node:crypto";
import type { GuestMemory } from "./memory.js";
import type { Clock } from "./stream-info.js";

export interface WasiHost {
  memory(): GuestMemory;
  log(level: "info" | "error", text: string): void;
  readonly environment: ReadonlyMap<string, string>;
  readonly clock: Clock;
}

const OK = 0;
const BADF = 8;
const FAULT = 21;
const INVAL = 28;
const NOENT = 44;
const NOTDIR = 20;
const NOSYS = 52;
const NOTSUP = 58;

type Wasi = (host: WasiHost, ...args: number[]) => number;

/** Standard output and error exist, nothing else does. */
const ifOutput: Wasi = (_host, fd) => (fd === 1 || fd === 2 ? OK : BADF);
const ok: Wasi = () => OK;
const unsupported: Wasi = () => NOTSUP;

function write(host: WasiHost, fd: number, vectors: number, count: number, writtenAt: number): number {
  const memory = host.memory();
  let text = "";
  for (let i = 0; i < count >>> 0; i++) {
    const pointer = memory.u32(vectors + i * 8);
    const size = memory.u32(vectors + i * 8 + 4);
    const piece = pointer === undefined || size === undefined ? undefined : memory.text(pointer, size);
    if (piece === undefined) return FAULT;
    text += piece;
  }
  if (fd !== 1 && fd !== 2) return BADF;
  if (text !== "") host.log(fd === 1 ? "info" : "error", text.endsWith("\n") ? text.slice(0, -1) : text);
  return memory.setU32(writtenAt, text.length) ? OK : FAULT;
}

function zeros(host: WasiHost, ...addresses: number[]): void {
  for (const at of addresses) host.memory().setU32(at, 0);
}

const environment = (host: WasiHost): string[] => [...host.environment].map(([key, value]) => `${key}=${value}\0`);

const FUNCTIONS: Record<string, Wasi> = {
  fd_write: (host, fd, vectors, count, at) => write(host, fd!, vectors!, count!, at!),
  fd_pwrite: (host, fd, vectors, count, _offset, at) => write(host, fd!, vectors!, count!, at!),
  fd_read: () => NOSYS,
  fd_pread: () => NOSYS,
  fd_seek: ok,
  fd_close: ok,
  fd_fdstat_get(host, fd, at) {
    if (fd !== 1 && fd !== 2) return BADF;
    const stat = new Uint8Array(24);
    stat[8] = 64;
    return host.memory().setBytes(at!, stat) ? OK : FAULT;
  },
  fd_fdstat_set_flags: () => NOSYS,
  fd_fdstat_set_rights: ifOutput,
  fd_filestat_set_size: ifOutput,
  fd_filestat_set_times: ifOutput,
  fd_allocate: ifOutput,
  fd_datasync: ifOutput,
  fd_sync: ifOutput,
  fd_advise: ok,
  fd_prestat_get: () => BADF,
  fd_filestat_get: () => BADF,
  fd_prestat_dir_name: () => NOSYS,
  fd_readdir(host, _fd, _buffer, _size, _cookie, at) {
    zeros(host, at!);
    return NOTDIR;
  },
  fd_renumber: (_host, from) => (from === 1 || from === 2 ? BADF : NOTSUP),
  fd_tell(host, fd, at) {
    if (fd !== 1 && fd !== 2) return BADF;
    return host.memory().setU64(at!, 0n) ? OK : FAULT;
  },
  path_open: () => NOENT,
  path_filestat_get: unsupported,
  path_create_directory: unsupported,
  path_filestat_set_times: unsupported,
  path_link: unsupported,
  path_remove_directory: unsupported,
  path_rename: unsupported,
  path_symlink: unsupported,
  path_unlink_file: unsupported,
  path_readlink(host, ...args) {
    zeros(host, args[5]!);
    return NOTSUP;
  },
  sock_send(host, ...args) {
    zeros(host, args[4]!);
    return NOTSUP;
  },
  sock_recv(host, ...args) {
    zeros(host, args[4]!, args[5]!);
    return NOTSUP;
  },
  sock_accept(host, _fd, _flags, at) {
    zeros(host, at!);
    return NOTSUP;
  },
  sock_shutdown: unsupported,
  environ_sizes_get(host, countAt, sizeAt) {
    const entries = environment(host);
    const size = entries.reduce((sum, entry) => sum + Buffer.byteLength(entry), 0);
    return host.memory().setU32(countAt!, entries.length) && host.memory().setU32(sizeAt!, size) ? OK : FAULT;
  },
  environ_get(host, listAt, at) {
    let next = at!;
    let slot = listAt!;
    for (const entry of environment(host)) {
      const bytes = Buffer.from(entry, "utf8");
      if (!host.memory().setU32(slot, next) || !host.memory().setBytes(next, bytes)) return FAULT;
      slot += 4;
      next += bytes.length;
    }
    return OK;
  },
  args_sizes_get: (host, countAt, sizeAt) => (host.memory().setU32(countAt!, 0) && host.memory().setU32(sizeAt!, 0) ? OK : FAULT),
  args_get: ok,
  clock_time_get(host, id, _precision, at) {
    if (id !== 0 && id !== 1) return NOTSUP;
    return host.memory().setU64(at!, id === 0 ? host.clock.wall() : host.clock.monotonic()) ? OK : FAULT;
  },
  clock_res_get(host, id, at) {
    if (id !== 0 && id !== 1) return NOTSUP;
    return host.memory().setU64(at!, 1n) ? OK : FAULT;
  },
  random_get(host, pointer, size) {
    if (size! >>> 0 > 65536) return INVAL;
    const bytes = new Uint8Array(size! >>> 0);
    randomFillSync(bytes);
    return host.memory().setBytes(pointer!, bytes) ? OK : FAULT;
  },
  sched_yield: ok,
  poll_oneoff(host, _in, _out, _count, at) {
    zeros(host, at!);
    return OK;
  },
  // envoy 1.40: this does not stop anything.
  proc_exit: ok,
};

/** The functions of both WASI modules for one VM. 64-bit arguments come as bigints and are of no importance. */
export function wasiFunctions(host: WasiHost): Record<string, (...args: never[]) => number> {
  return Object.fromEntries(Object.entries(FUNCTIONS).map(([name, call]) => [name, (...args: never[]) => call(host, ...args)]));
}
