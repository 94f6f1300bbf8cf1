#!/bin/sh
# Builds the Go program given as module@version, unless it was built already, where
# lab/tools looks for it. It is no dependency of this module: go.mod stays as it is.
set -eu
program=$(basename "${1%@*}")
folder=${XDG_CACHE_HOME:-$HOME/.cache}/pharos-peers
stamp=$folder/$program.version
[ -x "$folder/$program" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$1" ] && exit 0
mkdir -p "$folder"
echo "Building test peer: $1"
if ! (cd / && GOBIN=$folder GOFLAGS=-mod=mod ${GO:-go} install "$1") 2>"$folder/$program.log"; then
	cat "$folder/$program.log"
	echo "Tests with $program are skipped."
	exit 0
fi
echo "$1" >"$stamp"
