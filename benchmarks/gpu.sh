#!/usr/bin/env bash
# Everything that wants a GPU, in one command, from the root of the repository:
#
#   benchmarks/gpu.sh [FOLDER]
#
# The tests marked gpu, the rows of benchmarks/ that train networks, and MoCo's ResNet-18 on CIFAR-10 in
# pieces of ten minutes: the same command goes on where the last piece ended. FOLDER (gpu-results) gets
# the logs and the run. Without a GPU it does the same at a size of minutes, to show that it works.
set -euo pipefail

out=${1:-gpu-results}
mkdir -p "$out"
gpus=$(python -c 'import tensorflow as tf; print(len(tf.config.list_physical_devices("GPU")))' 2>/dev/null)
echo "GPUs: $gpus" | tee "$out/machine.txt"
python -c 'from benchmarks import machine; print(machine.describe())' >>"$out/machine.txt"

python -m pytest -n 0 -m gpu tests | tee "$out/tests.log"

run="$out/run"
if [ "$gpus" -gt 0 ]; then
  python -m benchmarks.run moco_step fixmatch_step feature_extraction | tee "$out/rows.log"
  arguments=(cifar10 --set pretrain.epochs=200 --set pretrain.checkpoint_every=1)
  piece=600
else
  python -m benchmarks.run arithmetic | tee "$out/rows.log"
  arguments=(digits --set pretrain.epochs=1 --set semi.enabled=false --set self.num_heads=2
    --set "export.directory=$out/models")
  piece=300
fi
if [ -f "$run/report.html" ]; then
  echo "The run in $run is finished."
  exit 0
fi
resume=()
if [ -f "$run/config.yaml" ]; then resume=(--resume); fi
status=0
timeout --signal=INT "$piece" python cli.py run "${arguments[@]}" --run-dir "$run" "${resume[@]}" \
  2>&1 | tee -a "$out/run.log" || status=$?
if [ "$status" -eq 124 ]; then
  echo "Ten minutes are over. The same command goes on."
elif [ "$status" -ne 0 ]; then
  exit "$status"
else
  cp "$run/metrics.json" "$out/metrics.json"
fi
