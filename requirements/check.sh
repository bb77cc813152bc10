#!/bin/sh
# Finds the Python to set up with and prints its path; says on stderr what is missing and how to mend it.
# Python is needed for everything. Java and Maven are needed for the broker that the project starts itself;
# without them only a broker of one's own (KAFKA_BOOTSTRAP_SERVERS) or the demo's in-memory stand-in remains.
set -eu

say() { printf '%s\n' "$*" >&2; }

is_fitting() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null
}

found=
for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13}; do
    if is_fitting "$candidate"; then found=$(command -v "$candidate"); break; fi
done
if [ -z "$found" ]; then
    say "Sluicegate needs Python 3.11, 3.12 or 3.13 with its venv module; ${PYTHON:-python3} is not one."
    say "  Debian, Ubuntu: apt-get install python3 python3-venv   or name one: make setup PYTHON=/path/to/python3.11"
    exit 1
fi

java_major() {
    "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1
}

if [ -z "${KAFKA_BOOTSTRAP_SERVERS:-}" ]; then
    major=$(java_major || true)
    if [ "${major:-0}" -lt 17 ] || ! command -v mvn >/dev/null 2>&1; then
        say "Notice: no real Kafka broker can be started here: it takes Java 17 or newer (found: ${major:-none}) and Maven."
        say "  Debian, Ubuntu: apt-get install default-jre-headless maven"
        say "  or use a broker of your own: KAFKA_BOOTSTRAP_SERVERS=host:9092"
    fi
fi
printf '%s\n' "$found"
