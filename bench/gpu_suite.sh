#!/usr/bin/env bash
# Everything there is to measure on a graphics processor, in nine minutes; degrades where something is absent.
#
#     bench/gpu_suite.sh OUT [WHEELS]
#
# OUT gets facts.txt, tests.txt, engines.jsonl, pipeline-*.json, trace*.txt and summary.txt. WHEELS is a folder of
# wheels to install from, without any network: whole ones, or parts named NAME.whl.00, .01 ... which are joined.
# PYTHON names the Python that has torch (python3). DEVICE=cpu tries the script itself where there is no card.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:?usage: bench/gpu_suite.sh OUT [WHEELS]}" && cd "$1" && pwd)
wheels=${2:-}
python=${PYTHON:-python3}
device=${DEVICE:-cuda:0}
work=${WORK:-$(mktemp -d)}
began=$SECONDS
limit=${LIMIT:-540}
: >"$out/summary.txt"

left() { echo $((limit - SECONDS + began)); }
say() { printf '%4d s  %s\n' $((SECONDS - began)) "$*" | tee -a "$out/summary.txt"; }

# step NAME SECONDS COMMAND...: runs within its time and what is left, output to NAME.txt; never ends the suite
step() {
  local name=$1 most=$2 rest
  shift 2
  rest=$(left)
  if [ "$rest" -lt 15 ]; then
    say "$name: not run, the time is up"
    return 1
  fi
  [ "$most" -lt "$rest" ] || most=$((rest - 5))
  timeout -k 5 "$most" "$@" >"$out/$name.txt" 2>&1
  local code=$?
  case $code in
    0) say "$name: done" ;;
    124 | 137) say "$name: stopped after $most s" ;;
    *) say "$name: ended with $code: $(tail -n 1 "$out/$name.txt" | cut -c 1-160)" ;;
  esac
  return $code
}

facts() {
  date -u +%F
  nvidia-smi 2>&1 | head -n 20
  "$python" -c 'import torch; print("torch", torch.__version__, torch.cuda.is_available(), torch.cuda.get_device_name() if torch.cuda.is_available() else "")' 2>&1 | tail -n 1
  nproc
  uname -srm
}

install() {
  # Into a folder: a virtual environment on top of another one would not see what that one has.
  local pip=("$python" -m pip install --quiet --disable-pip-version-check --no-compile --target "$work/site" --upgrade)
  if [ -n "$wheels" ]; then
    mkdir -p "$work/wheels"
    cp "$wheels"/*.whl "$work/wheels/" 2>/dev/null
    local first
    for first in "$wheels"/*.whl.00; do
      [ -e "$first" ] || continue
      cat "${first%.00}".[0-9][0-9] >"$work/wheels/$(basename "${first%.00}")"
    done
    # One by one: what does not fit this Python or lacks something is left out, and the rest goes on.
    local wheel
    for wheel in "$work"/wheels/*.whl; do
      "${pip[@]}" --no-index --no-deps "$wheel" || echo "left out: $(basename "$wheel")"
    done
  fi
  # The package is used where it lies; its record is what says its version.
  local version
  version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
  mkdir -p "$work/site/mien-$version.dist-info"
  printf 'Metadata-Version: 2.1\nName: mien\nVersion: %s\n' "$version" >"$work/site/mien-$version.dist-info/METADATA"
  "$python" -c 'import mien.models.engines as e; m = e.machine(); print(m); print("on cards:", m.computing or "nothing")'
}

export PYTHONPATH="$work/site:$PWD/src:$PWD/bench${PYTHONPATH:+:$PYTHONPATH}"
facts >"$out/facts.txt" 2>&1
say "facts: $(sed -n 's/^torch /torch /p' "$out/facts.txt")"
step install 150 bash -c "$(declare -f install); python=$(printf %q "$python") work=$(printf %q "$work") wheels=$(printf %q "$wheels") install"
mien=("$python" -c "import sys; from mien.app.cli import main; sys.exit(main())")
[ "$device" = cpu ] || export MIEN_REQUIRE_GPU=1

step tests 90 "$python" -m pytest -q -p no:cacheprovider tests/models/test_engine_torch.py \
  tests/models/test_engine_binding.py tests/models/test_engine_later.py::test_a_card_gets_tensorrt_while_another_engine_works \
  tests/images/test_gpu_parity.py tests/media/test_surfaces.py tests/media/test_video_engine.py tests/media/test_nvenc.py
step engines "${ENGINES:-200}" "$python" bench/gpu_engines.py "$work/standins" --device "$device" \
  --seconds "$((${ENGINES:-200} - 30))" -o "$out/engines.jsonl"
for chain in "inswapper_128" "inswapper_128 gfpgan_1.4" "hyperswap_1a_256"; do
  read -r swapper enhancer <<<"$chain "
  options=(--swap.model "$swapper")
  [ -z "${enhancer// /}" ] || options+=(--enhance.model "${enhancer// /}")
  step "pipeline-${swapper}${enhancer:+-${enhancer// /}}" 90 env MIEN_HOME="$work/home" "${mien[@]}" bench --standins \
    --frames "${FRAMES:-120}" --device.processor "${device%%:*}" "${options[@]}" -o "$out/pipeline-$swapper${enhancer:+-${enhancer// /}}.json"
done
for enhancer in "" gfpgan_1.4; do
  step "trace${enhancer:+-$enhancer}" 60 env MIEN_HOME="$work/home" "$python" bench/gpu_trace.py --device "${device%%:*}" \
    --enhance "$enhancer" --first "$((${FRAMES:-120} / 4))" --last "$((${FRAMES:-120} - 5))"
done
say "finished"
