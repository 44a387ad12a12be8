// Command apilint runs kube-api-linter on the types of the API, with the rules of rules.go. ADR 17 says which are off, and why.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"
	"sigs.k8s.io/kube-api-linter/pkg/analysis/registry"
	"sigs.k8s.io/kube-api-linter/pkg/config"
	_ "sigs.k8s.io/kube-api-linter/pkg/registration"
)

func main() {
	all := flag.Bool("all", false, "apply the rules that are off, too, and every rule as it comes")
	flag.Parse()
	findings, err := lint(*all, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "apilint:", err)
		os.Exit(2)
	}
	for _, finding := range findings {
		fmt.Println(finding)
	}
	if len(findings) > 0 {
		os.Exit(1)
	}
}

// lint returns what the rules find in the packages, one line each, in order.
func lint(all bool, patterns []string) ([]string, error) {
	loaded, err := packages.Load(&packages.Config{Mode: packages.LoadAllSyntax}, patterns...)
	if err != nil {
		return nil, err
	}
	if packages.PrintErrors(loaded) > 0 {
		return nil, fmt.Errorf("%v cannot be loaded", patterns)
	}
	analyzers, err := rules(all)
	if err != nil {
		return nil, err
	}
	graph, err := checker.Analyze(analyzers, loaded, nil)
	if err != nil {
		return nil, err
	}
	var findings []string
	for _, root := range graph.Roots {
		if root.Err != nil {
			return nil, root.Err
		}
		for _, found := range root.Diagnostics {
			findings = append(findings, fmt.Sprintf("%s: %s: %s", root.Package.Fset.Position(found.Pos), root.Analyzer.Name, found.Message))
		}
	}
	slices.Sort(findings)
	return findings, nil
}

func rules(all bool) ([]*analysis.Analyzer, error) {
	linters := config.Linters{Enable: []string{config.Wildcard}, Disable: unconfigured}
	if all {
		return registry.DefaultRegistry().InitializeLinters(linters, nil)
	}
	linters.Disable = slices.Concat(unconfigured, off)
	return registry.DefaultRegistry().InitializeLinters(linters, settings)
}
