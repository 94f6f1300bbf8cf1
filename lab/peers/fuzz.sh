#!/bin/sh
# Runs every fuzz target of the module, or of the packages that are named, for the given
# time each (default 10s).
set -eu
time=${1:-10s}
go=${GO:-go}
[ $# -lt 1 ] || shift
[ $# -gt 0 ] || set -- ./...
$go list -f '{{.Dir}} {{.ImportPath}}' "$@" | while read -r dir path; do
	grep -hos '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | while read -r target; do
		echo "fuzz $path $target"
		$go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$path" </dev/null
	done
done
