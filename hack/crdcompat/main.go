// Command crdcompat compares a CustomResourceDefinition with that of the last release, and says what of that release's objects, manifests or clients
// the new one refuses or loses. The release's is standard input, the new one a file.
package main

import (
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/yaml"
)

func main() {
	broken, err := run(os.Args[1:], os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "crdcompat:", err)
		os.Exit(2)
	}
	for _, what := range broken {
		fmt.Println(what)
	}
	if len(broken) > 0 {
		os.Exit(1)
	}
}

func run(arguments []string, released io.Reader) ([]string, error) {
	if len(arguments) != 1 {
		return nil, fmt.Errorf("write one file, and the released definition to standard input")
	}
	before, err := io.ReadAll(released)
	if err != nil {
		return nil, fmt.Errorf("read the released definition: %w", err)
	}
	after, err := os.ReadFile(arguments[0])
	if err != nil {
		return nil, err
	}
	var old, now definition
	if err := yaml.Unmarshal(before, &old); err != nil {
		return nil, fmt.Errorf("the released definition is not one: %w", err)
	}
	if err := yaml.Unmarshal(after, &now); err != nil {
		return nil, fmt.Errorf("%s is no definition: %w", arguments[0], err)
	}
	if len(old.Spec.Versions) == 0 || len(now.Spec.Versions) == 0 {
		return nil, fmt.Errorf("a definition without versions")
	}
	return old.broken(now), nil
}
