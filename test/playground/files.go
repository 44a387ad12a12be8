package main

import (
	"os"
	"path/filepath"
)

// files are the paths in a playground's folder.
type files struct{ dir string }

func (f files) path(name string) string    { return filepath.Join(f.dir, name) }
func (f files) env() string                { return f.path("env") }
func (f files) processes() string          { return f.path("processes.json") }
func (f files) socket() string             { return f.path("control.sock") }
func (f files) kubeconfig() string         { return f.path("kubeconfig") }
func (f files) kubectlCache() string       { return f.path("kubectl-cache") }
func (f files) managerFolder() string      { return f.path("manager") }
func (f files) gatewayFolder() string      { return f.path("gateway") }
func (f files) gateway(name string) string { return f.path("gateway/" + name) }
func (f files) log(name string) string     { return f.path("log/" + name + ".log") }

// program is the path of one of the project's own programs, which stand beside this one.
func program(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(self), name), nil
}

// repository is the checkout that this program was built in: it stands in bin/.
func repository() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Dir(filepath.Dir(self)), nil
}
