#!/bin/sh
# npm.sh PACKAGE...: installs packages of npm for tests that want them, where there is npm. Those
# tests are skipped without; nothing fails here.
to=${XDG_CACHE_HOME:-$HOME/.cache}/pharos-peers
command -v npm >/dev/null || { echo "peers: no npm; what wants $* is skipped"; exit 0; }
mkdir -p "$to" || exit 0
for package; do
	[ -d "$to/node_modules/${package%@*}" ] || npm install --no-audit --no-fund --prefix "$to" "$package" >"$to/npm.log" 2>&1 ||
		echo "peers: $package is not installed (see $to/npm.log); what wants it is skipped"
done
exit 0
