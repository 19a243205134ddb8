#!/usr/bin/env bash
# The lowest and the newest versions of what the package depends on: packaging/versions.sh FOLDER [PYTHON...]
#
# FOLDER holds the wheels that packaging/wheels.sh made. For each interpreter (default: python3) packaging/smoke.py tries
# its wheel with the newest versions, and for the first interpreter also with the lowest that pyproject.toml declares,
# those of the extras plot, bulk and openvino among them: name the oldest first, since later ones have no such wheels.
# The environments stay in FOLDER, and are used again. Ends with a table; exit code 1 where something failed.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
[ $# -ge 1 ] || { echo "packaging/versions.sh takes a folder of wheels, and interpreters of Python." >&2; exit 2; }
folder="$(cd "$1" && pwd)"
shift

# Install the wheel with constraints and extras, and try it; the row of the table is a file beside the environment.
try() {
  local environment="$folder/$1-$version" constraints="$2" extras="$3" start=$SECONDS
  echo "== Python $version: the $1 versions"
  [ -x "$environment/bin/pip" ] || "$python" -m venv "$environment"
  mkdir -p "$environment/tried"
  echo "| $1 | $version | failed | |" >"$environment.row"
  if "$environment/bin/python" -m pip install --quiet --only-binary :all: --upgrade \
    ${constraints:+--constraint "$constraints"} "$wheel[$extras]" &&
    "$environment/bin/python" -m pip install --quiet --no-deps --force-reinstall "$wheel" &&
    (cd "$environment/tried" && "$environment/bin/python" "$root/packaging/smoke.py" >log); then
    cat "$environment/tried/log"
    echo "| $1 $(tail -n 1 "$environment/tried/log")" >"$environment.row"
  fi
  echo "installed and tried in $((SECONDS - start)) s"
}

rows=()
for python in "${@:-python3}"; do
  version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  wheel="$(echo "$folder"/onnxplain-*-cp"${version/./}"-*.whl)"
  [ -f "$wheel" ] || { echo "$folder has no wheel for Python $version; packaging/wheels.sh makes it." >&2; exit 2; }
  try newest "" cpu
  if [ ${#rows[@]} = 0 ]; then
    "$folder/newest-$version/bin/python" "$root/packaging/lowest.py" cpu plot bulk openvino >"$folder/lowest.txt"
    try lowest "$folder/lowest.txt" cpu,plot,bulk,openvino
    rows+=("$folder/lowest-$version.row")
  fi
  rows+=("$folder/newest-$version.row")
done
printf '| versions | Python | of what | extras |\n|---|---|---|---|\n'
cat "${rows[@]}"
! grep -q "| failed |" "${rows[@]}"
