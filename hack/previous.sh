#!/bin/sh
# Builds the programs of another commit into FOLDER/bin, beside this tree's playground-ctl, which runs them: hack/previous.sh COMMIT FOLDER.
set -eu
cd "$(dirname "$0")/.."
commit=$1 folder=$2
if ! [ -e "$folder/.git" ]; then
	git worktree prune
	git worktree add --detach "$folder" "$commit"
fi
git -C "$folder" checkout --quiet --detach "$commit"
make --no-print-directory -C "$folder" build
cp bin/playground-ctl "$folder/bin/playground-ctl"
ln -sfn "$PWD/bin/k8s" "$folder/bin/k8s"
