package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// definition is the part of a CustomResourceDefinition that objects and clients depend on.
type definition struct {
	Spec struct {
		Scope    string         `json:"scope"`
		Names    map[string]any `json:"names"`
		Versions []version      `json:"versions"`
	} `json:"spec"`
}

type version struct {
	Name   string `json:"name"`
	Served bool   `json:"served"`
	Schema struct {
		OpenAPIV3Schema schema `json:"openAPIV3Schema"`
	} `json:"schema"`
}

type schema = map[string]any

func (d definition) version(name string) (version, bool) {
	i := slices.IndexFunc(d.Spec.Versions, func(v version) bool { return v.Name == name })
	if i < 0 {
		return version{}, false
	}
	return d.Spec.Versions[i], true
}

// broken lists what worked with d and does not with now.
func (d definition) broken(now definition) []string {
	var found []string
	if d.Spec.Scope != now.Spec.Scope {
		found = append(found, fmt.Sprintf("scope: was %s, is %s", d.Spec.Scope, now.Spec.Scope))
	}
	for _, name := range []string{"kind", "plural"} {
		if d.Spec.Names[name] != now.Spec.Names[name] {
			found = append(found, fmt.Sprintf("names.%s: was %v, is %v", name, d.Spec.Names[name], now.Spec.Names[name]))
		}
	}
	for _, before := range d.Spec.Versions {
		after, exists := now.version(before.Name)
		if !exists || before.Served && !after.Served {
			found = append(found, before.Name+": is not served any more")
			continue
		}
		found = append(found, tightened(before.Name, before.Schema.OpenAPIV3Schema, after.Schema.OpenAPIV3Schema)...)
	}
	return append(found, now.apart()...)
}

// apart lists the versions whose schema is another one than the first's: without conversion the API server drops what one of them lacks.
func (d definition) apart() []string {
	var found []string
	first := d.Spec.Versions[0]
	for _, other := range d.Spec.Versions[1:] {
		differences := append(tightened(other.Name, first.Schema.OpenAPIV3Schema, other.Schema.OpenAPIV3Schema),
			tightened(first.Name, other.Schema.OpenAPIV3Schema, first.Schema.OpenAPIV3Schema)...)
		if len(differences) > 0 {
			found = append(found, fmt.Sprintf("%s and %s have different schemas", first.Name, other.Name))
		}
	}
	return found
}

// tightened lists what the second schema refuses, drops or fills in otherwise than the first one, with the path of each. A change that it does not
// know to be looser is listed.
func tightened(path string, before, after schema) []string {
	var found []string
	say := func(format string, arguments ...any) {
		found = append(found, path+": "+fmt.Sprintf(format, arguments...))
	}
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		was, is := before[key], after[key]
		switch key {
		case "description", "title", "example":
		case "properties":
			found = append(found, properties(path, entries(was), entries(is))...)
		case "items", "additionalProperties":
			if isSchema(was) && isSchema(is) {
				found = append(found, tightened(path+"[]", entries(was), entries(is))...)
			} else if !reflect.DeepEqual(was, is) {
				say("%s is another one", key)
			}
		case "required":
			for _, name := range missing(is, was) {
				say("%v is required now", name)
			}
		case "x-kubernetes-validations":
			for _, rule := range missing(rules(is), rules(was)) {
				say("has a rule that is new: %s", rule)
			}
		case "enum":
			for _, value := range missing(was, is) {
				say("%v is no value any more", value)
			}
			if was == nil {
				say("has an enum that is new")
			}
		default:
			if !looser(key, was, is) {
				say("%s was %s, is %s", key, text(was), text(is))
			}
		}
	}
	return found
}

func properties(path string, before, after schema) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, exists := after[name]; !exists {
			found = append(found, path+"."+name+": is gone")
			continue
		}
		found = append(found, tightened(path+"."+name, entries(before[name]), entries(after[name]))...)
	}
	return found
}

// looser says that a keyword lets through at least what it let through before.
func looser(key string, was, is any) bool {
	if reflect.DeepEqual(was, is) {
		return true
	}
	bound := strings.HasPrefix(key, "max") || strings.HasPrefix(key, "min")
	if bound && is == nil {
		return true
	}
	before, known := was.(float64)
	after, alsoKnown := is.(float64)
	if !known || !alsoKnown {
		return false
	}
	return strings.HasPrefix(key, "max") && after >= before || strings.HasPrefix(key, "min") && after <= before
}

// missing lists those of the first list that the second one lacks.
func missing(of, in any) []any {
	all, _ := of.([]any)
	present, _ := in.([]any)
	return slices.DeleteFunc(slices.Clone(all), func(one any) bool {
		return slices.ContainsFunc(present, func(other any) bool { return reflect.DeepEqual(one, other) })
	})
}

// rules are the CEL rules without their messages.
func rules(validations any) any {
	var found []any
	all, _ := validations.([]any)
	for _, validation := range all {
		found = append(found, entries(validation)["rule"])
	}
	return found
}

func entries(value any) schema {
	found, _ := value.(schema)
	return found
}

func isSchema(value any) bool { return entries(value) != nil }

func text(value any) string {
	if value == nil {
		return "absent"
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(encoded)
}
