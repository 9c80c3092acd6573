#!/usr/bin/env bash
# All that is measured on a GPU, in one command that can be given again until it says "all done":
#
#   OUT=results-gpu benchmarks/gpu.sh
#
# 1. the tests marked gpu; 2. rows of benchmarks/ against PyTorch on the same card;
# 3. `spice run cifar10-released` (MoCo's ResNet-18) for 200 epochs of pretraining, without
# SPICE-Semi. Each call ends after PIECE seconds (540) of training with exit status 75; the next
# call goes on from the last checkpoint. Encoder, metrics and report come back in $OUT/run-files.
#
# TINY=1 tries all of it in minutes on a CPU, with scikit-learn's digits in place of CIFAR-10.
# DATA names a folder in which TensorFlow Datasets has prepared cifar10; without it, it is downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-results-gpu} piece=${PIECE:-540} python=${PYTHON:-python}
mkdir -p "$out"
out=$(cd "$out" && pwd)

if command -v nvidia-smi >"$out/card.txt" && nvidia-smi >>"$out/card.txt" 2>&1; then
  nvidia-smi --query-gpu=name,memory.total --format=csv,noheader
else
  echo "no GPU: everything runs on the CPU" | tee "$out/card.txt"
fi

once() { # NAME COMMAND...: a step that is not done again once it succeeded
  local name=$1
  shift
  [ -e "$out/$name.done" ] && return
  echo "== $name"
  "$@" 2>&1 | tee "$out/$name.log"
  touch "$out/$name.done"
}

rows="moco_step fixmatch_step feature_extraction self_iteration" rounds=""
if [ -n "${TINY:-}" ]; then
  rows="self_iteration" rounds="--rounds 1"
  run="digits --set pretrain.epochs=4 --set pretrain.checkpoint_every=1 --set self.epochs=2
       --set evaluate.map_method=pca"
else
  run="cifar10-released --set pretrain.epochs=200 --set pretrain.checkpoint_every=2"
  [ -n "${DATA:-}" ] && run="$run --set data.tfds_dir=$DATA"
fi

once tests "$python" -m pytest -n 0 -p no:cacheprovider -m gpu tests/test_gpu.py
benchmark_rows() {
  kept=$(mktemp -d)
  cp -r benchmarks/results docs/performance.md "$kept"
  # The page of this checkout speaks of another machine: it is put back.
  put_back() { cp "$kept/performance.md" docs/ && cp -r "$kept/results" benchmarks/; }
  trap put_back EXIT
  # shellcheck disable=SC2086
  "$python" -m benchmarks.run $rows $rounds
  mkdir -p "$out/rows"
  for row in $rows; do [ ! -e "benchmarks/results/$row.json" ] || cp "benchmarks/results/$row.json" "$out/rows"; done
}
once rows benchmark_rows

bring_back() {
  mkdir -p "$out/run-files"
  for name in metrics.json metrics.jsonl report.html config.yaml artifacts/encoder; do
    [ ! -e "$out/run/$name" ] || cp -r "$out/run/$name" "$out/run-files"
  done
}
if [ ! -e "$out/run.done" ]; then
  echo "== run"
  status=0
  # shellcheck disable=SC2086
  timeout --signal=TERM "$piece" "$python" -m spice_keras.cli run $run --set semi.enabled=false \
    --set "export.directory=$out/models" --run-dir "$out/run" --resume || status=$?
  bring_back
  if [ "$status" = 124 ] || [ "$status" = 143 ]; then
    echo "The time of this piece is over. The same command goes on."
    exit 75
  fi
  [ "$status" = 0 ] || exit "$status"
  touch "$out/run.done"
fi
echo "all done: $out"
