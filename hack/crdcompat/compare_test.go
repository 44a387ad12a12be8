package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// released is a definition as small as can be, with one of each keyword that is compared.
const released = `
spec:
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions:
  - name: v1alpha1
    served: true
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            description: before
            properties:
              name: {type: string, maxLength: 8, minLength: 1, pattern: ^a, default: a}
              mode: {type: string, enum: [A, B]}
              list: {type: array, maxItems: 4, x-kubernetes-list-type: set, items: {type: string, maxLength: 4}}
              map: {type: object, additionalProperties: {type: string}, x-kubernetes-validations: [{rule: self.size() < 4, message: fewer}]}
`

func TestBroken(t *testing.T) {
	tests := map[string]struct {
		old, new string
		says     []string
	}{
		"nothing":                    {"", "", nil},
		"another description":        {"description: before", "description: after", nil},
		"another message":            {"message: fewer", "message: not so many", nil},
		"a field more":               {"mode: {", "more: {type: string}\n              mode: {", nil},
		"a longer name":              {"maxLength: 8, minLength: 1", "maxLength: 9, minLength: 0", nil},
		"no bound":                   {"maxLength: 8, ", "", nil},
		"a value more":               {"[A, B]", "[A, B, C]", nil},
		"a rule less":                {", x-kubernetes-validations: [{rule: self.size() < 4, message: fewer}]", "", nil},
		"optional":                   {"required: [spec]", "required: []", nil},
		"another scope":              {"Namespaced", "Cluster", []string{"scope: was Namespaced, is Cluster"}},
		"another kind":               {"kind: Thing", "kind: Other", []string{"names.kind: was Thing, is Other"}},
		"another version":            {"v1alpha1", "v1beta1", []string{"v1alpha1: is not served any more"}},
		"not served":                 {"served: true", "served: false", []string{"v1alpha1: is not served any more"}},
		"a field less":               {"mode: {type: string, enum: [A, B]}", "", []string{"v1alpha1.spec.mode: is gone"}},
		"a field renamed":            {"mode: {", "way: {", []string{"v1alpha1.spec.mode: is gone"}},
		"another type":               {"mode: {type: string", "mode: {type: integer", []string{`v1alpha1.spec.mode: type was "string", is "integer"`}},
		"a shorter name":             {"maxLength: 8", "maxLength: 7", []string{"v1alpha1.spec.name: maxLength was 8, is 7"}},
		"a longer one wanted":        {"minLength: 1", "minLength: 2", []string{"v1alpha1.spec.name: minLength was 1, is 2"}},
		"a bound more":               {"mode: {", "mode: {maxLength: 9, ", []string{"v1alpha1.spec.mode: maxLength was absent, is 9"}},
		"a shorter element":          {"maxLength: 4", "maxLength: 3", []string{"v1alpha1.spec.list[]: maxLength was 4, is 3"}},
		"another pattern":            {"^a", "^b", []string{`v1alpha1.spec.name: pattern was "^a", is "^b"`}},
		"another default":            {"default: a", "default: b", []string{`v1alpha1.spec.name: default was "a", is "b"`}},
		"another way to merge":       {"list-type: set", "list-type: atomic", []string{`v1alpha1.spec.list: x-kubernetes-list-type was "set", is "atomic"`}},
		"a value less":               {"[A, B]", "[A]", []string{"v1alpha1.spec.mode: B is no value any more"}},
		"an enum more":               {"pattern: ^a", "pattern: ^a, enum: [a]", []string{"v1alpha1.spec.name: has an enum that is new"}},
		"another rule":               {"self.size() < 4", "self.size() < 3", []string{"v1alpha1.spec.map: has a rule that is new: self.size() < 3"}},
		"required":                   {"required: [spec]", "required: [spec, status]", []string{"v1alpha1: status is required now"}},
		"a version with less":        {"  - name: v1alpha1\n", "  - name: v1beta1\n    served: true\n    schema: {openAPIV3Schema: {type: object}}\n  - name: v1alpha1\n", []string{"v1beta1 and v1alpha1 have different schemas"}},
		"values that are maps of it": {"additionalProperties: {type: string}", "additionalProperties: true", []string{"v1alpha1.spec.map: additionalProperties is another one"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, released, test.old)
			file := filepath.Join(t.TempDir(), "now.yaml")
			require.NoError(t, os.WriteFile(file, []byte(strings.Replace(released, test.old, test.new, 1)), 0o600))
			broken, err := run([]string{file}, strings.NewReader(released))
			require.NoError(t, err)
			require.Equal(t, test.says, broken)
		})
	}
}
