#!/usr/bin/env bash
# build_test_clients.sh go|java: compile the program that calls with the official clients of a language, into .cache/.
# Without a new enough toolchain nothing is built, and the tests that need it are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="$PWD/.cache/$1"
rm -rf "$cache" && mkdir -p "$cache"
case "$1" in
  go)
    found=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || echo go0)
    if [ "$(printf '%s\n' go1.24 "$found" | sort -V | head -n 1)" != go1.24 ]; then
      echo "no Go 1.24 here: its clients are not tested"
      exit 0
    fi
    cd tests/go && GOTOOLCHAIN=local GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -o "$cache/calls" .
    ;;
  java)
    if ! command -v mvn >/dev/null || ! command -v javac >/dev/null || ! javac --release 17 --version >/dev/null 2>&1; then
      echo "no JDK 17 and Maven here: the Java clients are not tested"
      exit 0
    fi
    mvn -q -B -f tests/java/pom.xml dependency:copy-dependencies -DoutputDirectory="$cache/lib"
    javac -J-Xmx256m --release 17 -cp "$cache/lib/*" -d "$cache/classes" tests/java/src/*.java
    ;;
esac
