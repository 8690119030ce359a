#!/usr/bin/env bash
# Proves on a real Bazel 7.7 (Debian sid's, in a chroot) that what bazel-cache seeds is a hit, that without it it is a miss, and that doctor says the same of both.
#
# Not part of CI: it needs root, 2 GB and, the first time, Debian's archive. Every URL that Bazel gets is one that cannot answer
# (.invalid, RFC 6761) or a loopback server of this script, and nearly every build has --repository_disable_download, so that a
# build that succeeds has read the cache and nothing else; what it built is looked at, too.

# shellcheck disable=SC2016 # What is in single quotes is for others to expand: node, sh, dpkg-query.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: bazel-cache-tools/test/bazel7.sh

Builds bazel-cache, seeds caches with it, and asks Debian sid's Bazel 7.7 whether it finds what was seeded.
Prints "ok  <case>" or "FAIL  <case>: <why>" for each case, then "N passed, N failed". Exit code 1 if any failed, 2 if it cannot run.

Needs root, Linux, node, python3, and debootstrap the first time, when it fills the chroot (2 GB).

Environment:
  BAZEL7_ROOT   the chroot (default: node_modules/.cache/envoyscript/bazel7 of this project)
  BAZEL7_KEEP   when not empty, keep the work directory with every build's output, and say where it is
HELP
}

die() {
  echo "bazel7.sh: $*" >&2
  exit 2
}

case "${1:-}" in
  "") ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 2 ;;
esac

TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=${BAZEL7_ROOT:-$(dirname "$TOOLS")/node_modules/.cache/envoyscript/bazel7}
case "$ROOT" in /) die "BAZEL7_ROOT is this system's own root" ;; /*) ;; *) ROOT=$PWD/$ROOT ;; esac
[ "$(id -u)" -eq 0 ] || die "needs root: for chroot and mount"
for program in node python3 chroot mount mountpoint; do command -v "$program" >/dev/null || die "needs $program"; done

# ---------------------------------------------------------------- what is undone at the end

WORK=
MOUNTED=()   # By this script, in order.
WORKSPACES=() # Where a Bazel server may run.
SERVER=      # Process of the loopback server.

cleanup() {
  local status=$? workspace pid i
  trap - EXIT
  trap '' INT TERM
  set +e
  stop_server
  for workspace in "${WORKSPACES[@]}"; do bazel "$workspace" shutdown >/dev/null 2>&1; done
  # A server that did not obey: those below our own root only.
  for pid in "$WORK"/user-root/*/server/server.pid.txt; do
    if [ -n "$WORK" ] && [ -f "$pid" ]; then kill -9 "$(cat "$pid")" 2>/dev/null; fi
  done
  for ((i = ${#MOUNTED[@]} - 1; i >= 0; i--)); do
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      if umount "${MOUNTED[i]}" 2>/dev/null; then break; fi
      sleep 0.5
    done
    if mountpoint -q "${MOUNTED[i]}"; then echo "bazel7.sh: ${MOUNTED[i]} could not be unmounted" >&2; fi
  done
  if [ -n "$WORK" ]; then
    if [ -d "$ROOT$WORK" ] && ! mountpoint -q "$ROOT$WORK"; then rmdir "$ROOT$WORK" 2>/dev/null; fi
    if [ -n "${BAZEL7_KEEP:-}" ]; then echo "kept $WORK" >&2; else rm -rf --one-file-system "$WORK"; fi
  fi
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Mounts unless something is mounted there already, which then stays.
mount_once() {
  local target=${*: -1}
  if mountpoint -q "$target"; then return; fi
  mount "$@"
  MOUNTED+=("$target")
}

mount_system() {
  mount_once -t proc proc "$1/proc"
  mount_once --bind /dev "$1/dev"
  mount_once --bind /dev/pts "$1/dev/pts"
}

# ---------------------------------------------------------------- the chroot

# Whatever a killed run has left unfinished is finished: only a complete debootstrap gets the chroot's name.
prepare() {
  if [ ! -e "$ROOT/etc/debian_version" ]; then
    command -v debootstrap >/dev/null || die "needs debootstrap to make $ROOT (apt-get install debootstrap)"
    echo "making $ROOT (2 GB, some minutes) …" >&2
    mkdir -p "$(dirname "$ROOT")"
    if mountpoint -q "$ROOT.making/proc"; then umount "$ROOT.making/proc"; fi
    rm -rf --one-file-system "$ROOT.making"
    if [ -d "$ROOT" ]; then rmdir "$ROOT" || die "$ROOT is neither empty nor a Debian"; fi
    debootstrap --variant=minbase sid "$ROOT.making" >&2
    mv "$ROOT.making" "$ROOT"
  fi
  mount_system "$ROOT"
  if [ ! -x "$ROOT/usr/bin/bazel" ]; then
    # Debian's sid has a date until which its index is valid; a clock may be later than that.
    chroot "$ROOT" apt-get -o Acquire::Check-Valid-Until=false update >&2
    chroot "$ROOT" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends bazel-bootstrap >&2
  fi
  local version
  version=$(chroot "$ROOT" dpkg-query -W -f '${Version}' bazel-bootstrap)
  case "$version" in [0-6].*) die "$ROOT has Bazel $version; these are cases of 7 and later" ;; esac
  echo "bazel-bootstrap $version in $ROOT"
}

# bazel WORKSPACE ARGUMENT…: with a home, an output root and rc files of its own.
bazel() {
  local workspace=$1
  shift
  chroot "$ROOT" /usr/bin/env -i HOME="$WORK/home" USER=root PATH=/usr/bin:/bin LANG=C.UTF-8 /bin/sh -c 'cd "$1" && shift && exec bazel "$@"' sh \
    "$WORK/$workspace" --output_user_root="$WORK/user-root" --max_idle_secs=120 "$@" </dev/null
}

# cache WORKSPACE ARGUMENT…: bazel-cache, run in that workspace, whose .bazelrc tells it the cache.
cache() {
  local workspace=$1
  shift
  (cd "$WORK/$workspace" && exec env -i HOME="$WORK/home" USER=root PATH="$PATH" LANG=C.UTF-8 node "$WORK/cli/bazel-cache.mjs" "$@")
}

# ---------------------------------------------------------------- cases

PASSED=0
FAILED=0

# check CASE COMMAND…: the command prints why it fails.
check() {
  local name=$1 why
  shift
  if why=$("$@" 2>&1); then
    PASSED=$((PASSED + 1))
    echo "ok  $name"
  else
    FAILED=$((FAILED + 1))
    echo "FAIL  $name: $(printf '%s' "$why" | tr -s '\n\t ' ' ' | cut -c -700)"
  fi
}

# What a build died of, from its output: the step of the rule that failed, and the errors.
reason() {
  grep -aE '^Error in |^ERROR: |^FATAL|^	+[a-z_]+ = |ctx\.download|^bazel-cache: ' "$1" | head -6 || true
}

OFFLINE=--repository_disable_download

# build WORKSPACE TARGET FLAG…: its output is in the log named by $LOG.
build() {
  local workspace=$1 target=$2
  shift 2
  LOG=$WORK/logs/$(date +%s%N)-$target.txt
  bazel "$workspace" build "$@" "//:$target" >"$LOG" 2>&1
}

# misses WORKSPACE NAME FLAG…: Bazel does not find it, and dies of nothing else.
misses() {
  local workspace=$1 name=$2
  shift 2
  if build "$workspace" "$name" "$OFFLINE" "$@"; then
    echo "Bazel found it"
    return 1
  fi
  grep -aqE "Failed to download .*$name.*: download is disabled" "$LOG" || { echo "Bazel died of something else: $(reason "$LOG")" && return 1; }
}

# hits WORKSPACE NAME FLAG…: Bazel builds it without downloads, and has the right bytes.
hits() { finds "$1" "$2" "$OFFLINE" "${@:3}"; }

# finds WORKSPACE NAME FLAG…: the same, with downloads enabled where no URL answers.
finds() {
  local workspace=$1 name=$2 base
  shift 2
  build "$workspace" "$name" "$@" || { echo "Bazel did not find it: $(reason "$LOG")" && return 1; }
  base=$(bazel "$workspace" info output_base 2>/dev/null)
  grep -rqF "bytes of $name." "$base/external/"*"$name"* || { echo "Bazel built it, but not of its bytes" && return 1; }
}

# state WORKSPACE DOWNLOAD STATE FLAG…: what doctor says of it.
state() {
  local workspace=$1 download=$2 wanted=$3 said
  shift 3
  said=$(cache "$workspace" doctor --json "$@" | node -e '
    const { downloads } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    console.log([...new Set(downloads.filter((d) => d.name === process.argv[1]).map((d) => d.state))].join(" and ") || "nothing");' "$download") || true
  [ "$said" = "$wanted" ] || { echo "doctor says \"$said\" of $download, not \"$wanted\"" && return 1; }
}

# says TEXT COMMAND…: the command succeeds, and prints the text.
says() {
  local text=$1 output
  shift
  output=$("$@" 2>&1) || { echo "$* failed: $output" && return 1; }
  grep -qF -- "$text" <<<"$output" || { echo "$* printed no \"$text\": $output" && return 1; }
}

unseeded() { misses "$1" "$2" && state "$1" "${3:-$2}" miss; }
seed() { says seeded cache "$1" seed "$WORK/files/$2" && state "$1" "${3:-$2}" hit; }
seeded() { seed "$@" && hits "$1" "$2"; }

# both LABEL WORKSPACE NAME [DOWNLOAD]: a miss before `bazel-cache seed DIR`, a hit behind it.
both() {
  check "$1: unseeded misses" unseeded "${@:2}"
  check "$1: seeded hits" seeded "${@:2}"
}

# bytes WORKSPACE NAME: seeds them by their digest alone, without what is declared of them, and so without a marker.
bytes() {
  local file
  file=$(one "$2")
  says seeded cache "$1" seed "$file" --no-workspace --sha256 "$(hex "$file")"
}

# ---------------------------------------------------------------- what is declared

hex() { sha256sum "$1" | cut -d ' ' -f 1; }

# sri ALGORITHM FILE
sri() {
  node -p '`${process.argv[1]}-${require("crypto").createHash(process.argv[1]).update(require("fs").readFileSync(process.argv[2])).digest("base64")}`' "$1" "$2"
}

# Files to be seeded lie in a folder for each case, under names that say nothing.
one() { echo "$WORK/files/$1/download (1)"; }

# archive NAME [MODULE]: a .tar.gz with the file a.txt, and MODULE.bazel where it is a module.
archive() {
  local name=$1 tree=$WORK/tree
  rm -rf "$tree"
  mkdir -p "$tree" "$WORK/files/$name"
  echo "bytes of $name." >"$tree/a.txt"
  echo 'exports_files(["a.txt"])' >"$tree/BUILD.bazel"
  if [ -n "${2:-}" ]; then echo "module(name = \"$name\")" >"$tree/MODULE.bazel"; else touch "$tree/WORKSPACE"; fi
  tar -C "$tree" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - . | gzip -n >"$(one "$name")"
}

# file NAME
file() {
  mkdir -p "$WORK/files/$1"
  echo "bytes of $1." >"$(one "$1")"
}

# A patch of an archive's a.txt.
patch_of() {
  printf -- '--- a/a.txt\n+++ b/a.txt\n@@ -1 +1,2 @@\n bytes of %s.\n+patched\n' "$1"
}

# target WORKSPACE NAME LABEL
target() { printf 'filegroup(name = "%s", srcs = ["%s"])\n' "$2" "$3" >>"$WORK/$1/BUILD.bazel"; }

# http_archive NAME ATTRIBUTES [FILE] / http_file NAME ATTRIBUTES [FILE]: in the WORKSPACE, or in a file beside it.
http_archive() {
  printf 'http_archive(name = "%s", %s)\n' "$1" "$2" >>"$WORK/workspace/${3:-WORKSPACE}"
  target workspace "$1" "@$1//:a.txt"
}
http_file() {
  printf 'http_file(name = "%s", %s)\n' "$1" "$2" >>"$WORK/workspace/${3:-WORKSPACE}"
  target workspace "$1" "@$1//file"
}

# workspace NAME RC-LINE…
workspace() {
  local name=$1
  shift
  mkdir -p "$WORK/$name"
  touch "$WORK/$name/BUILD.bazel"
  printf '%s\n' "common --repository_cache=$WORK/cache" "$@" >"$WORK/$name/.bazelrc"
  WORKSPACES+=("$name")
}

# module REGISTRY NAME SOURCE.JSON: of version 1.0, which the workspace "modules" depends on.
module() {
  local folder=$WORK/$1/modules/$2/1.0
  mkdir -p "$folder"
  printf 'module(name = "%s", version = "1.0")\n' "$2" >"$folder/MODULE.bazel"
  printf '%s\n' "$3" >"$folder/source.json"
  mkdir -p "$WORK/files/$2"
  cp "$folder/MODULE.bazel" "$WORK/files/$2/download (2)"
  printf 'bazel_dep(name = "%s", version = "1.0")\n' "$2" >>"$WORK/modules/MODULE.bazel"
  target modules "$2" "@$2//:a.txt"
}

# repo_rule RULE NAME ATTRIBUTES: of use_repo_rule.
repo_rule() {
  printf '%s(name = "%s", %s)\n' "$1" "$2" "$3" >>"$WORK/modules/MODULE.bazel"
  if [ "$1" = http_file ]; then target modules "$2" "@$2//file"; else target modules "$2" "@$2//:a.txt"; fi
}

# with_side_files REGISTRY NAME [URL]: a patch and an overlay in the registry, and a copy of each to be seeded. Prints source.json.
with_side_files() {
  local folder=$WORK/$1/modules/$2/1.0
  mkdir -p "$folder/patches" "$folder/overlay"
  patch_of "$2" >"$folder/patches/fix.patch"
  echo "overlay of $2" >"$folder/overlay/more.txt"
  cp "$folder/patches/fix.patch" "$WORK/files/$2/download (3)"
  cp "$folder/overlay/more.txt" "$WORK/files/$2/download (4)"
  printf '{"url": "%s", "integrity": "%s", "patch_strip": 1, "patches": {"fix.patch": "%s"}, "overlay": {"more.txt": "%s"}}' \
    "${3:-https://one.invalid/$2.tar.gz}" "$(sri sha256 "$(one "$2")")" "$(sri sha256 "$folder/patches/fix.patch")" "$(sri sha256 "$folder/overlay/more.txt")"
}

# Stubs of the modules that Bazel's own modules depend on: no build here uses one, but all of them are resolved.
stub_registry() {
  mkdir -p "$WORK/stub"
  touch "$WORK/stub/BUILD.bazel" "$WORK/stub/MODULE.bazel" "$WORK/stub/WORKSPACE"
  find "$ROOT/usr/share/bazel" -name MODULE.bazel -exec cat {} + | tr '\n' ' ' | grep -oE 'bazel_dep\([^)]*\)' |
    sed -nE 's/.*name = "([^"]+)".*version = "([^"]+)".*/\1 \2/p' | sort -u |
    while read -r name version; do
      mkdir -p "$WORK/registry/modules/$name/$version"
      printf 'module(name = "%s", version = "%s")\n' "$name" "$version" >"$WORK/registry/modules/$name/$version/MODULE.bazel"
      printf '{"type": "local_path", "path": "%s/stub"}\n' "$WORK" >"$WORK/registry/modules/$name/$version/source.json"
    done
}

# ---------------------------------------------------------------- the loopback server

# Serves $WORK/srv at $HERE, on a port that is free.
start_server() {
  mkdir -p "$WORK/srv/right" "$WORK/srv/wrong"
  touch "$WORK/logs/server.txt"
  python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$WORK/srv" >"$WORK/logs/server.txt" 2>&1 &
  SERVER=$!
  for _ in $(seq 100); do
    PORT=$(sed -nE 's/.* port ([0-9]+) .*/\1/p' "$WORK/logs/server.txt" | head -1)
    if [ -n "$PORT" ]; then break; fi
    sleep 0.1
  done
  [ -n "$PORT" ] || die "python3 -m http.server did not start: $(cat "$WORK/logs/server.txt")"
  HERE=http://127.0.0.1:$PORT
}

stop_server() {
  if [ -z "$SERVER" ]; then return; fi
  kill "$SERVER" 2>/dev/null || true
  wait "$SERVER" 2>/dev/null || true
  SERVER=
}

# serve NAME: its file, as /right/NAME, and other bytes as /wrong/NAME.
serve() {
  cp "$(one "$1")" "$WORK/srv/right/$1"
  echo "<html>sign in, please</html>" >"$WORK/srv/wrong/$1"
}

# ---------------------------------------------------------------- here it begins

prepare
WORK=$(mktemp -d "${TMPDIR:-/tmp}/bazel7.XXXXXX")
mkdir -p "$WORK/home" "$WORK/logs" "$WORK/files" "$WORK/user-root" "$ROOT$WORK"
mount_once --bind "$WORK" "$ROOT$WORK"
node "$TOOLS/build.mjs"
# A copy: somebody may build it anew meanwhile.
cp -r "$TOOLS/dist" "$WORK/cli"
start_server

# --- WORKSPACE: what is declared

workspace workspace "common --noenable_bzlmod --enable_workspace"
RULES=@bazel_tools//tools/build_defs/repo:http.bzl
printf 'load("%s", "http_archive", "http_file")\n' "$RULES" >"$WORK/workspace/WORKSPACE"
sha() { printf 'sha256 = "%s"' "$(hex "$(one "$1")")"; }

for name in w_archive w_bare w_env w_link w_corrupt w_log_disabled w_packed w_copy; do
  archive $name && http_archive $name "urls = [\"https://one.invalid/$name.tar.gz\"], $(sha $name)"
done
for name in w_file w_file_bare; do
  file $name && http_file $name "urls = [\"https://one.invalid/$name\"], $(sha $name)"
done
archive w_two && http_archive w_two "urls = [\"https://one.invalid/w.tar.gz\", \"https://two.invalid/a%20b.tar.gz?x=1#y\"], $(sha w_two)"
archive w_both && http_archive w_both "url = \"https://three.invalid/w.tar.gz\", urls = [\"https://one.invalid/w.tar.gz\", \"https://two.invalid/w.tar.gz\"], $(sha w_both)"
archive w_id && http_archive w_id "urls = [\"https://one.invalid/w_id.tar.gz\"], canonical_id = \"my id, é\", $(sha w_id)"
archive w_384 && http_archive w_384 "urls = [\"https://one.invalid/w_384.tar.gz\"], integrity = \"$(sri sha384 "$(one w_384)")\""
file w_512 && http_file w_512 "urls = [\"https://one.invalid/w_512\", \"https://two.invalid/w_512\"], integrity = \"$(sri sha512 "$(one w_512)")\""
archive w_upper && http_archive w_upper "urls = [\"https://one.invalid/w_upper.tar.gz\"], sha256 = \"$(hex "$(one w_upper)" | tr a-f A-F)\""

# Starlark's strings are bytes to Bazel 7: what is not ASCII becomes UTF-8 twice in its marker.
printf 'load("%s", "http_archive", "http_file")\ndef deps():\n' "$RULES" >"$WORK/workspace/deps.bzl"
archive w_foreign && http_archive w_foreign "urls = [\"https://é.invalid/中/😀.tar.gz\", \"https://one.invalid/w_foreign.tar.gz\"], $(sha w_foreign)" deps.bzl
file w_log_foreign && http_file w_log_foreign "urls = [\"https://one.invalid/é\", \"https://two.invalid/中\"], $(sha w_log_foreign)" deps.bzl
sed -i 's/^http_/    http_/' "$WORK/workspace/deps.bzl"
printf 'load("//:deps.bzl", "deps")\ndeps()\n' >>"$WORK/workspace/WORKSPACE"

# The archive, a patch of it and one more file for it, each by its own digest.
archive w_sides
patch_of w_sides >"$WORK/files/w_sides/download (2)"
echo "remote file of w_sides" >"$WORK/files/w_sides/download (3)"
http_archive w_sides "urls = [\"https://one.invalid/w_sides.tar.gz\"], $(sha w_sides), remote_patch_strip = 1,
  remote_patches = {\"https://one.invalid/fix.patch\": \"$(sri sha256 "$WORK/files/w_sides/download (2)")\"},
  remote_file_urls = {\"more.txt\": [\"https://one.invalid/more.txt\", \"https://two.invalid/more.txt\"]},
  remote_file_integrity = {\"more.txt\": \"$(sri sha256 "$WORK/files/w_sides/download (3)")\"}"

archive w_log_host && http_archive w_log_host "urls = [\"https://one.invalid/w_log_host.tar.gz\"], $(sha w_log_host)"
archive w_log_wrong && serve w_log_wrong
http_archive w_log_wrong "type = \"tar.gz\", urls = [\"https://one.invalid/x.tar.gz\", \"$HERE/wrong/w_log_wrong\"], $(sha w_log_wrong)"
file w_log_512 && serve w_log_512
http_file w_log_512 "url = \"$HERE/wrong/w_log_512\", integrity = \"$(sri sha512 "$(one w_log_512)")\""
for name in w_log_one w_log_other; do
  archive $name && http_archive $name "urls = [\"https://one.invalid/$name.tar.gz\", \"https://two.invalid/$name.tar.gz\"], $(sha $name)"
done
archive w_fetch && serve w_fetch
http_archive w_fetch "type = \"tar.gz\", urls = [\"https://one.invalid/x.tar.gz\", \"$HERE/right/w_fetch\"], $(sha w_fetch)"
file w_fetch_file && serve w_fetch_file
http_file w_fetch_file "url = \"$HERE/right/w_fetch_file\", integrity = \"$(sri sha384 "$(one w_fetch_file)")\""

# --- WORKSPACE: cases

both "WORKSPACE http_archive" workspace w_archive
both "WORKSPACE http_file" workspace w_file

without_marker() { bytes "$1" "$2" && misses "$1" "$2" && state "$1" "${3:-$2}" "marker missing"; }
fixed() { says mended cache "$1" doctor --fix --only "${3:-$2}" && state "$1" "${3:-$2}" hit && hits "$1" "$2"; }
for name in w_bare w_file_bare; do
  rule=http_archive
  if [ $name = w_file_bare ]; then rule=http_file; fi
  check "WORKSPACE $rule, bytes without a marker: misses, and doctor says so" without_marker workspace $name
  check "WORKSPACE $rule, bytes without a marker, behind doctor --fix: hits" fixed workspace $name
done

without_ids() {
  bytes workspace w_env && misses workspace w_env && hits workspace w_env --repo_env=BAZEL_HTTP_RULES_URLS_AS_DEFAULT_CANONICAL_ID=0
}
check "WORKSPACE bytes without a marker, BAZEL_HTTP_RULES_URLS_AS_DEFAULT_CANONICAL_ID=0: hits" without_ids

both "WORKSPACE two urls" workspace w_two
both "WORKSPACE url and urls" workspace w_both
both "WORKSPACE canonical_id" workspace w_id
both "WORKSPACE integrity sha384" workspace w_384
both "WORKSPACE integrity sha512, two urls" workspace w_512
both "WORKSPACE sha256 in upper case" workspace w_upper
both "WORKSPACE non-ASCII urls in a .bzl file" workspace w_foreign

# Where the file system shares bytes otherwise (reflink), the link is made here.
linked() {
  local entry
  seed workspace w_link || return 1
  entry=$WORK/cache/content_addressable/sha256/$(hex "$(one w_link)")/file
  if ! [ "$entry" -ef "$(one w_link)" ]; then ln -f "$(one w_link)" "$entry"; fi
  hits workspace w_link && { [ "$entry" -ef "$(one w_link)" ] || { echo "it is no hard link any more" && return 1; }; }
}
check "WORKSPACE a hard-linked seed: unseeded misses" unseeded workspace w_link
check "WORKSPACE a hard-linked seed: hits" linked

copied() { says seeded cache workspace seed --copy "$WORK/files/w_copy" && state workspace w_copy hit && hits workspace w_copy; }
check "WORKSPACE seed --copy: unseeded misses" unseeded workspace w_copy
check "WORKSPACE seed --copy: hits" copied

corrupt() {
  says seeded cache workspace seed --copy "$WORK/files/w_corrupt" || return 1
  echo damaged >"$WORK/cache/content_addressable/sha256/$(hex "$(one w_corrupt)")/file"
  misses workspace w_corrupt && state workspace w_corrupt "wrong digest"
}
check "WORKSPACE a corrupt entry: misses, and doctor says so" corrupt
check "WORKSPACE a corrupt entry, seeded again: hits" seeded workspace w_corrupt

archive_alone() { says seeded cache workspace seed "$(one w_sides)" && misses workspace w_sides && state workspace "w_sides fix.patch" miss; }
all_sides() {
  seed workspace w_sides "w_sides fix.patch" && state workspace "w_sides more.txt" hit && hits workspace w_sides &&
    { grep -q patched "$(bazel workspace info output_base 2>/dev/null)"/external/w_sides/a.txt || { echo "it is not patched" && return 1; }; }
}
check "WORKSPACE remote_patches and remote_file_urls: unseeded misses" unseeded workspace w_sides
check "WORKSPACE remote_patches and remote_file_urls, the archive alone: misses" archive_alone
check "WORKSPACE remote_patches and remote_file_urls, seeded: hits" all_sides

# --- bzlmod: what is declared

stub_registry
mkdir -p "$WORK/mirrored"
echo '{"mirrors": ["https://mirror.invalid/", "https://two.invalid/bcr"]}' >"$WORK/mirrored/bazel_registry.json"
workspace modules "common --registry=file://$WORK/registry --registry=file://$WORK/mirrored"
{
  echo 'module(name = "root", version = "0")'
  for rule in http_archive http_file; do printf '%s = use_repo_rule("%s", "%s")\n' $rule "$RULES" $rule; done
} >"$WORK/modules/MODULE.bazel"
plain() { printf '{"url": "%s", "integrity": "%s"%s}' "$2" "$(sri "${4:-sha256}" "$(one "$1")")" "${3:-}"; }

for name in m_plain m_log m_log_disabled m_bare; do archive $name && module registry $name "$(plain $name "https://one.invalid/$name.tar.gz")"; done
archive m_512 && module registry m_512 "$(plain m_512 https://one.invalid/m_512.tar.gz '' sha512)"
archive m_more && module registry m_more "$(plain m_more https://one.invalid/m.tar.gz ', "mirror_urls": ["https://two.invalid/m.tar.gz", "https://three.invalid/m.tar.gz"]')"
archive m_mirrors && module mirrored m_mirrors "$(plain m_mirrors 'https://one.invalid:8443/a/m_mirrors.tar.gz?b=c%20d')"
archive m_foreign && module mirrored m_foreign "$(plain m_foreign 'https://one.invalid/é/中.tar.gz')"
for name in m_sides m_packed m_packed_cold; do archive $name && module registry $name "$(with_side_files registry $name)"; done
archive m_fetch && serve m_fetch && mv "$WORK/srv/right/m_fetch" "$WORK/srv/right/m_fetch.tar.gz"
module registry m_fetch "$(plain m_fetch "$HERE/right/m_fetch.tar.gz")"
archive m_fetch_sides && serve m_fetch_sides && mv "$WORK/srv/right/m_fetch_sides" "$WORK/srv/right/m_fetch_sides.tar.gz"
module registry m_fetch_sides "$(with_side_files registry m_fetch_sides "$HERE/right/m_fetch_sides.tar.gz")"

file m_file && repo_rule http_file m_file "urls = [\"https://one.invalid/m_file\", \"https://two.invalid/m_file\"], $(sha m_file)"
file m_file_foreign && repo_rule http_file m_file_foreign "urls = [\"https://é.invalid/中\", \"https://two.invalid/😀\"], $(sha m_file_foreign)"
archive m_archive && repo_rule http_archive m_archive "url = \"https://one.invalid/m_archive.tar.gz\", $(sha m_archive)"
file m_log_wrong && serve m_log_wrong && repo_rule http_file m_log_wrong "urls = [\"https://é.invalid/中\", \"$HERE/wrong/m_log_wrong\"], $(sha m_log_wrong)"
file m_log_file && repo_rule http_file m_log_file "url = \"https://one.invalid/é/m_log_file\", $(sha m_log_file)"
file m_fetch_file && serve m_fetch_file && repo_rule http_file m_fetch_file "url = \"$HERE/right/m_fetch_file\", $(sha m_fetch_file)"

# An extension of the workspace's own, with text of both kinds.
archive m_extension && archive m_tag
cat >"$WORK/modules/extension.bzl" <<BZL
load("$RULES", "http_archive")

def _made(ctx):
    http_archive(name = "m_extension", urls = ["https://é.invalid/中.tar.gz"], $(sha m_extension))
    for tag in ctx.modules[0].tags.of:
        http_archive(name = "m_tag", urls = tag.urls, $(sha m_tag))

made = module_extension(implementation = _made, tag_classes = {"of": tag_class(attrs = {"urls": attr.string_list()})})
BZL
cat >>"$WORK/modules/MODULE.bazel" <<'BZL'
made = use_extension("//:extension.bzl", "made")
made.of(urls = ["https://é.invalid/中/tag.tar.gz"])
use_repo(made, "m_extension", "m_tag")
BZL
target modules m_extension "@m_extension//:a.txt"
target modules m_tag "@m_tag//:a.txt"

# A workspace for each: an overridden module is fetched before anything else is known of the workspace.
overriding() {
  workspace "$1" "common --registry=file://$WORK/registry"
  archive "$2" module
  printf 'module(name = "root", version = "0")\nbazel_dep(name = "%s")\narchive_override(module_name = "%s", urls = ["https://one.invalid/%s.tar.gz", "https://é.invalid/%s"], integrity = "%s")\n' \
    "$2" "$2" "$2" "$2" "$(sri sha256 "$(one "$2")")" >"$WORK/$1/MODULE.bazel"
  target "$1" "$2" "@$2//:a.txt"
}
overriding override o_archive
overriding override-log o_log

# --- bzlmod: cases

both "bzlmod a module's archive" modules m_plain m_plain@1.0
both "bzlmod a module's archive, integrity sha512" modules m_512 m_512@1.0
both "bzlmod source.json with mirror_urls" modules m_more m_more@1.0
both "bzlmod bazel_registry.json with mirrors" modules m_mirrors m_mirrors@1.0
both "bzlmod bazel_registry.json with mirrors, non-ASCII url" modules m_foreign m_foreign@1.0

check "bzlmod a module's archive, bytes without a marker: misses, and doctor says so" without_marker modules m_bare m_bare@1.0
check "bzlmod a module's archive, bytes without a marker, behind doctor --fix: hits" fixed modules m_bare m_bare@1.0

patched() { grep -q patched "$(bazel "$1" info output_base 2>/dev/null)"/external/"$2"*/a.txt || { echo "it is not patched" && return 1; }; }
module_sides() {
  seed modules m_sides m_sides@1.0 && state modules "m_sides@1.0 patches/fix.patch" hit && state modules "m_sides@1.0 overlay/more.txt" hit &&
    hits modules m_sides && patched modules m_sides
}
check "bzlmod a module with patch and overlay: unseeded misses" unseeded modules m_sides m_sides@1.0
check "bzlmod a module with patch and overlay: seeded hits" module_sides

both "bzlmod archive_override" override o_archive
both "bzlmod use_repo_rule(http_archive)" modules m_archive
both "bzlmod use_repo_rule(http_file)" modules m_file
both "bzlmod use_repo_rule(http_file), non-ASCII urls" modules m_file_foreign
both "bzlmod module extension, non-ASCII url in its .bzl file" modules m_extension
both "bzlmod module extension, non-ASCII url in a tag" modules m_tag

# --- from-log: a build that fails on the network (or with it disabled), and what it printed

# from_log WORKSPACE TARGET FOLDER FLAG…: builds to fail, and pipes what it printed into from-log.
from_log() {
  local workspace=$1 target=$2 folder=$3
  shift 3
  if build "$workspace" "$target" "$@"; then echo "the build did not fail" && return 1; fi
  says "in the cache now" cache "$workspace" from-log --quiet --search "$WORK/files/$folder" <"$LOG" || { echo "of: $(reason "$LOG")" && return 1; }
}
log_hits() { from_log "$1" "$2" "$2" && hits "$1" "$2"; }
check "from-log http_archive, unknown host: then hits" log_hits workspace w_log_host
check "from-log http_archive, unknown host and wrong bytes: then hits" log_hits workspace w_log_wrong
check "from-log http_file, integrity sha512, wrong bytes: then hits" log_hits workspace w_log_512
check "from-log http_file, non-ASCII urls in a .bzl file: then hits" log_hits workspace w_log_foreign
log_disabled() { from_log "$1" "$2" "$2" "$OFFLINE" && hits "$1" "$2"; }
check "from-log http_archive, downloads disabled: then hits" log_disabled workspace w_log_disabled
several() {
  printf 'filegroup(name = "several", srcs = [":w_log_one", ":w_log_other"])\n' >>"$WORK/workspace/BUILD.bazel"
  mkdir -p "$WORK/files/several"
  cp "$(one w_log_one)" "$WORK/files/several/1"
  cp "$(one w_log_other)" "$WORK/files/several/2"
  from_log workspace several several --keep_going && hits workspace w_log_one && hits workspace w_log_other
}
check "from-log several, --keep_going: then all hit" several
# With downloads enabled Bazel reads its file:// registry from the disk, and nothing else answers.
log_finds() { from_log "$1" "$2" "$2" && finds "$1" "$2"; }
check "from-log bzlmod a module's archive, unknown host: then hits" log_finds modules m_log
check "from-log bzlmod a module's archive, downloads disabled: then hits" log_disabled modules m_log_disabled
check "from-log bzlmod use_repo_rule(http_file), non-ASCII url: then hits" log_hits modules m_log_file
check "from-log bzlmod use_repo_rule(http_file), non-ASCII url and wrong bytes: then hits" log_hits modules m_log_wrong
check "from-log bzlmod archive_override, unknown host: then hits" log_hits override-log o_log

# --- fetch: from the loopback server, which is gone when Bazel builds

fetched() { unseeded "$1" "$2" "${3:-$2}" && says "1 fetched" cache "$1" fetch --only "${3:-$2}" && state "$1" "${3:-$2}" hit; }
check "fetch http_archive: fetched" fetched workspace w_fetch
check "fetch http_file: fetched" fetched workspace w_fetch_file
check "fetch bzlmod a module's archive: fetched" fetched modules m_fetch m_fetch@1.0
check "fetch bzlmod a module with patch and overlay: fetched" fetched modules m_fetch_sides m_fetch_sides@1.0
check "fetch bzlmod use_repo_rule(http_file): fetched" fetched modules m_fetch_file
stop_server
check "fetch http_archive: then hits" hits workspace w_fetch
check "fetch http_file: then hits" hits workspace w_fetch_file
check "fetch bzlmod a module's archive: then hits" hits modules m_fetch
sides_hit() { hits modules m_fetch_sides && patched modules m_fetch_sides; }
check "fetch bzlmod a module with patch and overlay: then hits" sides_hit
check "fetch bzlmod use_repo_rule(http_file): then hits" hits modules m_fetch_file

# --- pack and unpack: what one cache has, in another one that is empty

# packed WORKSPACE NAME PATTERN DOWNLOAD [cold]: "cold" has a server of its own build there, as on another machine.
packed() {
  local workspace=$1 name=$2 pattern=$3 other=$WORK/cache-of-$2 tar=$WORK/$2.tar
  cache "$workspace" seed "$WORK/files/$name" >/dev/null || { echo "not seeded" && return 1; }
  misses "$workspace" "$name" "--repository_cache=$other" &&
    says packed cache "$workspace" pack -o "$tar" --only "$pattern" &&
    says unpacked cache "$workspace" unpack "$tar" "--cache=$other" && state "$workspace" "$4" hit "--cache=$other" || return 1
  if [ -n "${5:-}" ]; then bazel "$workspace" shutdown >/dev/null 2>&1; fi
  hits "$workspace" "$name" "--repository_cache=$other"
}
check "pack and unpack http_archive: misses in the other cache, then hits" packed workspace w_packed w_packed w_packed
# A module's repository has the registry's MODULE.bazel downloaded, too. A server that resolves the modules puts it into the
# cache that it is given then; one that has resolved them before looks for it in the other cache, and only seeding helps.
check "pack and unpack bzlmod a module with patch and overlay: misses in the other cache, then hits" packed modules m_packed 'm_packed@1.0*' m_packed@1.0
check "pack and unpack bzlmod a module with patch and overlay, new server: misses in the other cache, then hits" packed modules m_packed_cold 'm_packed_cold@1.0*' m_packed_cold@1.0 cold

echo "$PASSED passed, $FAILED failed"
[ "$FAILED" -eq 0 ]
