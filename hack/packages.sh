#!/bin/sh
# Installs the small tools that the playground's pages and tests call, where they are missing.
set -eu
missing=""
for pair in curl:curl jq:jq psql:postgresql-client pgbouncer:pgbouncer script:bsdutils; do
	command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0
echo "installing$missing"
${SUDO:-} apt-get update -q >/dev/null
# shellcheck disable=SC2086 # a list of names
${SUDO:-} apt-get install -qy --no-install-recommends $missing >/dev/null
