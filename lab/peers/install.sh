#!/bin/sh
# Installs the Debian packages given as arguments that are missing, when run as
# root; otherwise says which are missing. No service is started: the tests and
# the bench start the servers themselves, on ports of their own.
set -eu
missing=
for package in "$@"; do
	dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "Tests against real peers are skipped without:$missing"
	echo "To run them: sudo apt-get install$missing"
	exit 0
fi
echo "Installing test peers:$missing"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then # Debian asks this file whether a new service may start
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
apt-get update -q >/dev/null
# shellcheck disable=SC2086 # a list of package names
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
