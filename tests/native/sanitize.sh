#!/usr/bin/env bash
# The kernels and the operators under a sanitizer (GCC on Linux): tests/native/sanitize.sh [address|thread] [TESTS...]
# Builds into a folder of its own, so that the compiled files of the checkout stay as they are. "address" is
# AddressSanitizer with UndefinedBehaviorSanitizer. ONNX Runtime itself is not instrumented: ThreadSanitizer sees the
# operators' own memory alone, and its pool of threads as unknown, hence the suppressions.
set -euo pipefail
kind="${1:-address}"
shift || true
root="$(cd "$(dirname "$0")/../.." && pwd)"
python="${PYTHON:-python}"
build="$(mktemp -d)"
trap 'rm -rf "$build"' EXIT

case "$kind" in
  address) flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined" runtime=libasan.so ;;
  thread) flags="-fsanitize=thread" runtime=libtsan.so ;;
  *) echo "sanitize.sh takes address or thread; found $kind." >&2; exit 2 ;;
esac

cmake -S "$root" -B "$build/cmake" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS="$flags" \
  -DSKBUILD_PROJECT_VERSION=0.0.0 -DSKBUILD_PROJECT_VERSION_FULL=0.0.0 \
  -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" \
  -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" >"$build/log"
cmake --build "$build/cmake" >>"$build/log"
cp -r "$root/src" "$build/src"
find "$build/src/onnxplain" -maxdepth 1 -name "*.so" -delete
cp "$build"/cmake/_native*.so "$build"/cmake/libonnxplain_operators.so "$build/src/onnxplain/"

echo "called_from_lib:libonnxruntime" >"$build/suppressions"
echo "race:libonnxruntime" >>"$build/suppressions"
cd "$root"
LD_PRELOAD="$(g++ -print-file-name=$runtime) $(g++ -print-file-name=libstdc++.so)" \
  ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS="suppressions=$build/suppressions ignore_noninstrumented_modules=1 die_after_fork=0" \
  PYTHONPATH="$build/src" "$python" -m pytest -q -s -p no:cacheprovider "${@:-tests/native}"
