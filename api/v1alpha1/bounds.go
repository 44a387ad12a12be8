package v1alpha1

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// longestMessage bounds a condition's message, in characters. The CRD accepts 32768, and a fleet of such objects would fill etcd.
const longestMessage = 4096

// longestURL bounds a URL, in characters. One whose parameters are all as long as the CRD lets them be is longer, and is cut.
const longestURL = 65536

// Bound cuts every text to the maximum that its marker gives it, so that the API server never refuses a status because of what PostgreSQL, Fly or a
// spec holds.
func (s *TenantCredentialStatus) Bound() {
	boundConditions(s.Conditions)
	if s.LastRotation != nil {
		s.LastRotation.bound()
	}
	for i := range s.History {
		s.History[i].bound()
	}
	if p := s.Postgres; p != nil {
		p.Role, p.Database = cut(p.Role, 63), cut(p.Database, 63)
		p.InternalURL, p.ExternalURL = cut(p.InternalURL, longestURL), cut(p.ExternalURL, longestURL)
	}
	if f := s.Fly; f != nil {
		f.AppName, f.SecretVersion, f.SecretDigest = cut(f.AppName, 63), cut(f.SecretVersion, 20), cut(f.SecretDigest, 256)
	}
}

func (r *RotationStatus) bound() {
	r.Cause, r.Reason, r.RequestedBy, r.RequestID = cut(r.Cause, 64), cut(r.Reason, 1024), cut(r.RequestedBy, 1024), cut(r.RequestID, 64)
}

// Bound is as that of a TenantCredentialStatus.
func (s *TenantEnvironmentStatus) Bound() {
	boundConditions(s.Conditions)
	s.ServerVersion, s.SystemIdentifier, s.Database = cut(s.ServerVersion, 64), cut(s.SystemIdentifier, 20), cut(s.Database, 63)
}

func boundConditions(conditions []metav1.Condition) {
	for i := range conditions {
		conditions[i].Message = cut(conditions[i].Message, longestMessage)
	}
}

// BoundNote cuts a text to what the API server accepts as that of an event, which it counts in bytes.
func BoundNote(text string) string {
	const longest = 1024
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest-len("…")], "") + "…"
}

// cut is text with at most so many characters; the last of them says that there were more.
func cut(text string, longest int) string {
	if len(text) <= longest {
		return text
	}
	characters := []rune(text)
	if len(characters) <= longest {
		return text
	}
	return string(characters[:longest-1]) + "…"
}
