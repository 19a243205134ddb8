#!/usr/bin/env bash
# The operators in the oldest and the newest supported ONNX Runtime, each in an environment of its own:
# tests/runtime/operators/versions.sh [FOLDER [VERSIONS...]]. The environments stay in FOLDER and are used again.
# The library is not built again: the one of the checkout has to run in all of them.
set -euo pipefail
root="$(cd "$(dirname "$0")/../../.." && pwd)"
folder="${1:-$(mktemp -d)}"
shift || true
versions=("$@")
if [ "${#versions[@]}" = 0 ]; then versions=("==1.21.*" ">=1.21"); fi

for version in "${versions[@]}"; do
  environment="$folder/onnxruntime${version//[^0-9]/_}"
  if [ ! -x "$environment/bin/python" ]; then
    "${PYTHON:-python}" -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet "onnxruntime$version" onnx onnx-ir numpy pillow typer rich pytest hypothesis
  fi
  "$environment/bin/python" -c 'import onnxruntime; print("ONNX Runtime", onnxruntime.__version__)'
  (cd "$root" && PYTHONPATH="$root/src" "$environment/bin/python" -m pytest -q -p no:cacheprovider tests/runtime/operators)
done
