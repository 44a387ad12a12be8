// Package v1alpha1 is the API group credentials.systemprompt.io: a platform engineer writes a TenantCredential to have a tenant's
// credentials rotated, and a TenantEnvironment to say where that happens.
//
// +kubebuilder:object:generate=true
// +groupName=credentials.systemprompt.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "credentials.systemprompt.io", Version: "v1alpha1"}

var schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme registers the types of this package.
var AddToScheme = schemeBuilder.AddToScheme

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&TenantCredential{}, &TenantCredentialList{},
		&TenantEnvironment{}, &TenantEnvironmentList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
