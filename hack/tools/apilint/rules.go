package main

import "sigs.k8s.io/kube-api-linter/pkg/config"

// unconfigured rules find nothing without a list of one's own.
var unconfigured = []string{"conflictingmarkers", "dependenttags", "forbiddenmarkers", "namingconventions", "preferredmarkers"}

// off are the rules that this API does not follow. ADR 17 says why.
var off = []string{"minlength", "nobools", "nonpointerstructs", "optionalfields", "requiredfields"}

// settings of the rules that are on.
var settings = config.LintersConfig{
	// observedGeneration comes first, as in Kubernetes' own types, and nothing here is sent as protobuf.
	"conditions": map[string]any{"isFirstField": "Ignore", "useProtobuf": "Forbid"},
	// One marker throughout; controller-gen reads both.
	"defaults": map[string]any{"preferredDefaultMarker": "kubebuilder:default"},
}
