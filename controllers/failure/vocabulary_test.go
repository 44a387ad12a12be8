package failure_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The user reads the reason of a failed step in a condition: the reason is declared in the API under the same name, and says what it
// means. Every declared reason is used.
func TestReasonsOfFailuresAndConditionsAreOneVocabulary(t *testing.T) {
	declared := constants(t, "../../api/v1alpha1/conditions.go", "Reason")
	values := map[string]bool{}
	for name, value := range declared {
		require.Equal(t, "Reason"+value, name, "a constant is named after its value")
		values[value] = true
	}
	for name, value := range constants(t, "failure.go", "") {
		require.Equal(t, value, name, "a constant is named after its value")
		require.True(t, values[value], "%s can fail a step, and conditions.go does not declare Reason%s", name, name)
	}
}

// Every reason of a condition is used somewhere: by its constant, or as the failure of the same name.
func TestDeclaredReasonsAreUsed(t *testing.T) {
	product := source(t, "../../controllers", "../../cmd")
	failures := constants(t, "failure.go", "")
	for name, value := range constants(t, "../../api/v1alpha1/conditions.go", "Reason") {
		_, fails := failures[value]
		used := strings.Contains(product, "v1alpha1."+name) || fails && strings.Contains(product, "failure."+value)
		require.True(t, used, "nothing uses %s", name)
	}
	for name := range failures {
		require.Contains(t, product, "failure."+name, "nothing fails with %s", name)
	}
}

// constants are a file's string constants whose name begins with the prefix; without one, those of type Reason.
func constants(t *testing.T, path, prefix string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	require.NoError(t, err)
	found := map[string]string{}
	for _, declaration := range file.Decls {
		group, is := declaration.(*ast.GenDecl)
		if !is || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			v := spec.(*ast.ValueSpec)
			kind, _ := v.Type.(*ast.Ident)
			literal, isLiteral := v.Values[0].(*ast.BasicLit)
			if !isLiteral || prefix == "" && (kind == nil || kind.Name != "Reason") || !strings.HasPrefix(v.Names[0].Name, prefix) {
				continue
			}
			value, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			found[v.Names[0].Name] = value
		}
	}
	require.NotEmpty(t, found)
	return found
}

// source is the product's own code, without its tests.
func source(t *testing.T, folders ...string) string {
	t.Helper()
	var text strings.Builder
	for _, folder := range folders {
		require.NoError(t, filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			text.Write(content)
			return err
		}))
	}
	return text.String()
}
