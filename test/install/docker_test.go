package install

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
)

// This program called as docker is the part of Docker that the pages use. An image is not built; its digest is made of its name, so that the
// stand-in of the kubelet knows which program it is.
func docker(arguments []string) error {
	image := arguments[len(arguments)-1]
	switch arguments[0] {
	case "build":
		at := slices.Index(arguments, "-t")
		if at < 0 || image != "." {
			return fmt.Errorf("the pages do not build so: %q", arguments)
		}
		_, err := os.Stat("Dockerfile")
		return err
	case "push":
		return nil
	case "inspect":
		repository, _, _ := strings.Cut(image, ":")
		fmt.Printf("%s@%s\n", repository, digestOf(image))
		return nil
	}
	return fmt.Errorf("the pages do not use this: %q", arguments)
}

func digestOf(image string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(image))) }
