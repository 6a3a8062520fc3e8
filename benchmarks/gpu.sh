#!/usr/bin/env bash
# All that needs a GPU, in less than eight minutes: the tests marked `cuda`, and the figures of results/*-gpu.json.
# From the root of the repository: bash benchmarks/gpu.sh. PYTHON names the interpreter [.venv/bin/python].
set -u
cd "$(dirname "$0")/.." || exit 2
PYTHON=${PYTHON:-.venv/bin/python}

if ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
  echo "error: $PYTHON finds no CUDA GPU, or no PyTorch; name another interpreter with PYTHON=..." >&2
  exit 2
fi

rows=()
failed=0

# part NAME SECONDS ARGUMENTS...: runs Python with the arguments for so long at most, and goes on whatever comes of it.
part() {
  local name=$1 limit=$2 started=$SECONDS outcome
  shift 2
  echo "== $name: $PYTHON $*"
  timeout --kill-after=5 "$limit" "$PYTHON" "$@"
  case $? in
    0) outcome=ok ;;
    124 | 137) outcome="out of time ($limit s)" failed=1 ;;
    *) outcome=failed failed=1 ;;
  esac
  rows+=("$(printf '%-24s %7d  %s' "$name" $((SECONDS - started)) "$outcome")")
}

# The limits add up to 475 s. benchmarks.step begins no further option after its own limit.
part "tests marked cuda" 80 -m pytest -q -m cuda tests
part "training step" 235 -m benchmarks.step --limit 200
part "trials on one GPU" 105 -m benchmarks.packing
part "preparation, VideoMAE" 55 -m benchmarks.prepare --workers "$(nproc)" --rounds 2

printf '\n%-24s %7s  %s\n' part seconds outcome
printf '%s\n' "${rows[@]}"
exit $failed
