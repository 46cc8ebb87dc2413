# ./rllava test [NAME ...]: sourced by the launcher, with $build and compile.
# NAMEs: only the tests whose name or file holds one of them, plainly.  Without: everything, also
# under sanitizers.
if [ $# -gt 0 ]; then exec "$build/rllava" tests/run.lua "$@"; fi

status=0
step() {
  printf '== %s\n' "$1" && shift
  "$@" || { status=1; printf 'FAILED: %s\n' "$*"; }
}
step "tests" "$build/rllava" tests/run.lua
if [ -d ../shared/goldens ]; then
  # a real model's weights
  "$build/rllava" -e 'pcall(require "rllava.model_source".fetch, "smollm2-135m")'
  step "goldens, all of them" env RLLAVA_GOLDENS=../shared/goldens \
    "$build/rllava" tests/run.lua goldens
fi
asan="$build-asan" tsan="$build-tsan"
compile "$asan" -DRLLAVA_SANITIZE=address,undefined -DRLLAVA_FUZZ=ON
step "tests under ASan and UBSan" env ASAN_OPTIONS=detect_leaks=0 RLLAVA_TESTS=sanitized \
  "$asan/rllava" tests/run.lua
for target in tests/fuzz/*.c; do
  name=$(basename "$target" .c)
  if [ "$name" != drive ]; then
    step "fuzz $name" "$asan/fuzz_$name" 20000 tests/fuzz/seeds/"$name"*
  fi
done
compile "$tsan" -DRLLAVA_SANITIZE=thread
step "pool and engine under TSan" "$tsan/threads_test"
exit $status
