#!/bin/sh
# Install dist/*.whl with $PYTHON in a clean environment, run the demo and doctor there, and the sdist's tests of reading against it.
set -eu
if ! "$PYTHON" -c "" 2>/dev/null; then
    echo "$PYTHON: not here, left out"
    exit 0
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir "$place/sdist"
tar xzf dist/dqmroot-*.tar.gz -C "$place/sdist" --strip-components 1
rm -r "$place/sdist/dqmroot" # the installed one is what is tested
"$PYTHON" -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet dist/dqmroot-*.whl
cd "$place"
env/bin/dqmroot doctor --no-gpu
env/bin/dqmroot demo -o demo 2>&1 | tee told
test "$(grep -c 'found in 10 of 10 LS' told)" = 3
env/bin/python -m pip install --quiet hypothesis pandas pytest pytest-timeout pytest-xdist root
cd sdist
../env/bin/pytest -q -m 'not slow' tests/io tests/test_cli.py tests/test_docs.py
echo "$PYTHON: installs, and works"
