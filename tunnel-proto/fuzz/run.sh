#!/usr/bin/env bash
# Builds the fuzz targets once and runs each for SECONDS. Needs the toolchain of the repository and a
# C++ compiler; no nightly, no cargo-fuzz, no sanitizer.
#
# Starts from the inputs in corpus/TARGET, which it never changes, and from what earlier runs on this
# machine found (target/corpus/TARGET). A crash fails the run; its input is kept in artifacts/.
#
# Usage: tunnel-proto/fuzz/run.sh SECONDS [TARGET ...]
set -euo pipefail
cd "$(dirname "$0")"

usage="usage: $0 SECONDS [TARGET ...]"
seconds=${1:?$usage}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "$usage" >&2; exit 64; }
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(frame link hello stream)
command -v "${CXX:-c++}" >/dev/null || { echo "fuzz: a C++ compiler is missing (Debian: apt-get install g++): libFuzzer is compiled with it" >&2; exit 1; }

# What cargo-fuzz passes with `--sanitizer none`. Naming the target keeps it from build scripts.
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
CARGO_TARGET_DIR=target RUSTFLAGS="$coverage --cfg fuzzing" cargo build --quiet --release --locked --target "$host"

# That of the threads which do this work in the servers.
ulimit -s 2048
failed=0
for target in "${targets[@]}"; do
  [ -d "corpus/$target" ] || { echo "fuzz: no target $target" >&2; exit 64; }
  mkdir -p "target/corpus/$target" artifacts
  log=target/$target.log
  # Beyond the 16 KiB that a hello or a body may have; shorter where long inputs only repeat steps.
  case $target in
    hello | stream) longest=20000 ;;
    *) longest=1024 ;;
  esac
  if "target/$host/release/$target" "target/corpus/$target" "corpus/$target" -max_total_time="$seconds" \
    -max_len=$longest -timeout=10 -rss_limit_mb=1024 -artifact_prefix="artifacts/$target-" -print_final_stats=1 >"$log" 2>&1; then
    echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions, no crash"
  else
    tail -n 25 "$log" >&2
    input=$(sed -n 's/^.*Test unit written to //p' "$log" | tail -n 1)
    echo "fuzz: $target failed; reproduce with: $PWD/target/$host/release/$target $PWD/${input:-artifacts/}" >&2
    failed=1
  fi
done
exit "$failed"
