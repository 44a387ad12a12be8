// Package process has what all of the project's programs do as processes.
package process

import (
	"cmp"
	"runtime/debug"
)

// Version is that of the program: stated, which is set where an image or a release is built; "" = as Go names it after the repository's tag and
// commit.
func Version(stated string) string {
	if build, known := debug.ReadBuildInfo(); known {
		stated = cmp.Or(stated, build.Main.Version)
	}
	return cmp.Or(stated, "(unknown)")
}
