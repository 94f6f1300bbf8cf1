#!/bin/sh
# Builds the Go program given as module@version, or name=module@version if it is to have
# another name than its package, unless it was built already, where lab/tools looks for it.
# It is no dependency of this module: go.mod stays as it is.
set -eu
module=${1#*=}
package=$(basename "${module%@*}")
program=$package
[ "$module" = "$1" ] || program=${1%%=*}
folder=${XDG_CACHE_HOME:-$HOME/.cache}/pharos-peers
stamp=$folder/$program.version
[ -x "$folder/$program" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$1" ] && exit 0
mkdir -p "$folder"
echo "Building test peer: $1"
if ! (cd / && GOBIN=$folder/$program.new GOFLAGS=-mod=mod ${GO:-go} install "$module") 2>"$folder/$program.log"; then
	cat "$folder/$program.log"
	echo "Tests with $program are skipped."
	exit 0
fi
mv "$folder/$program.new/$package" "$folder/$program"
rmdir "$folder/$program.new"
echo "$1" >"$stamp"
