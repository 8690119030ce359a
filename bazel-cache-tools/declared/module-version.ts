// Versions of Bazel modules and their order (bazel 7.7: `Version`; https://bazel.build/external/module#version_format).

/** Negative where `a` comes before `b`. The empty version, of a module that is overridden, is the highest. */
export function compareVersions(a: string, b: string): number {
  if (a === b) return 0;
  if (a === "" || b === "") return a === "" ? 1 : -1;
  const [x, y] = [split(a), split(b)];
  const release = compareIdentifiers(x.release, y.release);
  if (release !== 0) return release;
  // A version comes after its own prereleases.
  if (x.prerelease.length === 0 || y.prerelease.length === 0) return y.prerelease.length - x.prerelease.length;
  return compareIdentifiers(x.prerelease, y.prerelease);
}

function split(version: string): { release: string[]; prerelease: string[] } {
  const [text] = version.split("+", 1) as [string];
  const dash = text.indexOf("-");
  const [release, prerelease] = dash < 0 ? [text, ""] : [text.slice(0, dash), text.slice(dash + 1)];
  return { release: release.split("."), prerelease: prerelease === "" ? [] : prerelease.split(".") };
}

function compareIdentifiers(a: readonly string[], b: readonly string[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = compareIdentifier(a[i]!, b[i]!);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/** Numbers by their value and before words; words by their characters. */
function compareIdentifier(a: string, b: string): number {
  const numbers = [a, b].map((text) => /^\d+$/.test(text));
  if (numbers[0] && numbers[1]) {
    const [x, y] = [BigInt(a), BigInt(b)];
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}
