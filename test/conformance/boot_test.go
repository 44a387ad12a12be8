package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Only a Machine's main process knows the values that it booted with: it is not established that a command of exec gets the same environment;
// that is one of the findings. So the main process leaves the hash of each variable in a directory, which carries the ID of the
// boot, because files may outlive it, and a command of exec reads it.
const bootDirectory = "/conformance-$(cat /proc/sys/kernel/random/boot_id)"

// noteBoot is what the main process does first. The directory gets its name once it is complete.
func noteBoot(directory string) string {
	return `d="` + directory + `"; rm -rf "$d" "$d.new"; mkdir "$d.new"
for name in $(env | sed -n 's/^\(CONFORMANCE_[A-Z_]*\)=.*/\1/p'); do
	eval "printf %s \"\$$name\"" | sha256sum > "$d.new/$name"
done
mv "$d.new" "$d"`
}

// readBoot prints what the main process has left about one variable.
func readBoot(directory, variable string) string {
	return fmt.Sprintf("d=%s; until [ -d $d ]; do sleep 0.1; done; cat $d/%s 2>/dev/null || echo %s", directory, variable, notSet)
}

// readExec prints the same about the environment of exec itself.
func readExec(variable string) string {
	return fmt.Sprintf(`if [ "${%s+set}" ]; then printf %%s "$%s" | sha256sum; else echo %s; fi`, variable, variable, notSet)
}

const notSet = "not set"

// hashIn reads what either of them printed.
func hashIn(stdout string) string {
	if text := strings.TrimSpace(stdout); text == notSet {
		return notSet
	}
	hash, _, _ := strings.Cut(stdout, " ")
	return hash
}

func hashOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}
