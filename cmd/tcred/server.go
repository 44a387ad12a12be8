package main

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/systempromptio/tenant-credential-operator/cmd/internal/process"
	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/endpoint"
)

// serverFlags say which endpoint to call, and with which token.
type serverFlags struct{ url, tokenFile, caFile string }

func (s *serverFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&s.url, "server", "", "the endpoint's URL (TCRED_SERVER)")
	flags.StringVar(&s.tokenFile, "token-file", "", `the file with the bearer token, "-" for standard input; without it TCRED_TOKEN is taken`)
	flags.StringVar(&s.caFile, "ca-file", "", "the file with the certificates of the authority that the server's is from (TCRED_CA_FILE)")
}

// arguments are the flags as they were given, for the commands that tcred prints.
func (s *serverFlags) arguments() (list []string) {
	for _, flag := range [][2]string{{"--server", s.url}, {"--token-file", s.tokenFile}, {"--ca-file", s.caFile}} {
		if flag[1] != "" {
			list = append(list, flag[0], flag[1])
		}
	}
	return list
}

// open makes the client. Its errors are mistakes in the flags, the environment or the files.
func (s *serverFlags) open(in io.Reader, notice func(string)) (*endpoint.Client, error) {
	server := cmp.Or(s.url, os.Getenv("TCRED_SERVER"))
	if server == "" {
		return nil, &usageError{"the endpoint is not named. To fix: give --server, or set TCRED_SERVER"}
	}
	token, err := s.token(in)
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(cmp.Or(s.caFile, os.Getenv("TCRED_CA_FILE")))
	if err != nil {
		return nil, err
	}
	c, err := endpoint.New(endpoint.Options{Server: server, Token: token, Roots: roots, Agent: "tcred/" + process.Version(version), Notice: notice})
	if err != nil {
		return nil, &usageError{err.Error()}
	}
	return c, nil
}

func (s *serverFlags) token(in io.Reader) (string, error) {
	const longest = 64 << 10
	switch {
	case s.tokenFile == "":
		token := strings.TrimSpace(os.Getenv("TCRED_TOKEN"))
		if token == "" {
			return "", &usageError{"no token. To fix: give --token-file (- for standard input), or set TCRED_TOKEN"}
		}
		return token, nil
	case s.tokenFile == "-" && isTerminal(in):
		return "", &usageError{"standard input is a terminal, which would show the token. To fix: pipe it in"}
	case s.tokenFile != "-":
		f, err := os.Open(s.tokenFile)
		if err != nil {
			return "", &usageError{fmt.Sprintf("the token cannot be read: %v", err)}
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, longest))
	if err != nil {
		return "", &usageError{fmt.Sprintf("the token cannot be read: %v", err)}
	}
	return strings.TrimSpace(string(text)), nil
}

func isTerminal(in io.Reader) bool {
	f, isFile := in.(*os.File)
	return isFile && term.IsTerminal(int(f.Fd()))
}

// readRoots reads the authorities of a file; no file means the system's.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // the user names the file
	if err != nil {
		return nil, &usageError{fmt.Sprintf("the authority's certificate cannot be read: %v", err)}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, &usageError{file + " has no certificate (PEM)"}
	}
	return roots, nil
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// parseTenant takes a tenant's ID in either case.
func parseTenant(text string) (string, error) {
	if tenant := strings.ToLower(text); uuid.MatchString(tenant) {
		return tenant, nil
	}
	return "", &usageError{fmt.Sprintf("%q is not a tenant's ID, such as 7dd06cd6-2f8e-4b1c-9a5e-0c3d4e5f6a7b", text)}
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// commandLine is a command as a shell reads it.
func commandLine(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if !plainWord.MatchString(word) {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
