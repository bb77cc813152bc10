#!/bin/sh
# Builds var/tools/NAME by hash from requirements/NAME.txt: an environment for a tool that shares nothing with ours.
# Does nothing where it is built already.
set -eu
name=${1:?name of the tool}
root=$(cd "$(dirname "$0")/.." && pwd)
lock=$root/requirements/$name.txt
tool=$root/var/tools/$name
cmp -s "$lock" "$tool/lock.txt" && exit 0
echo "setup: tool environment $name"
mkdir -p "$root/var/tools"
"$root/.venv/bin/uv" venv --quiet --clear --python "$root/.venv/bin/python" "$tool"
"$root/.venv/bin/uv" pip sync --quiet --python "$tool/bin/python" --require-hashes "$lock"
cp "$lock" "$tool/lock.txt"
