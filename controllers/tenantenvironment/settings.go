package tenantenvironment

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// LedgerSettings is what the ledger has to be installed with for an environment. A field that the manifest leaves out has the
// default that the CRD gives it, so that a file can be used before it was applied.
func LedgerSettings(environment *v1alpha1.TenantEnvironment) postgres.Settings {
	table, naming := environment.Spec.Management, environment.Spec.Naming
	return postgres.Settings{
		Schema:             cmp.Or(table.Schema, "management"),
		Table:              cmp.Or(table.Table, "tenants"),
		ColumnID:           cmp.Or(table.Columns.ID, "id"),
		ColumnPasswordHash: cmp.Or(table.Columns.PasswordHash, "password_hash"),
		ColumnRole:         table.Columns.Role,
		ColumnDatabase:     table.Columns.Database,
		ColumnFlyApp:       table.Columns.FlyApp,
		ColumnOwner:        table.Columns.Owner,
		RolePrefix:         cmp.Or(naming.RolePrefix, "tenant_"),
		DatabasePrefix:     cmp.Or(naming.DatabasePrefix, "site_"),
		FlyAppPrefix:       cmp.Or(naming.FlyAppPrefix, "sp-"),
	}
}

// connectionSettings reads the Secrets. A Secret or key that is missing is a missingSecretError.
func (r *Reconciler) connectionSettings(ctx context.Context, environment *v1alpha1.TenantEnvironment) (settings, error) {
	spec := environment.Spec
	login, err := r.secretValue(ctx, spec.Postgres.LoginSecretRef.Name, spec.Postgres.LoginSecretRef.Key)
	if err != nil {
		return settings{}, err
	}
	token, err := r.secretValue(ctx, spec.Fly.TokenSecretRef.Name, spec.Fly.TokenSecretRef.Key)
	if err != nil {
		return settings{}, err
	}
	serverCA, err := r.authorities(ctx, spec.Postgres.CASecretRef)
	if err != nil {
		return settings{}, err
	}
	flyCA, err := r.authorities(ctx, spec.Fly.CASecretRef)
	if err != nil {
		return settings{}, err
	}
	return settings{
		postgres:      postgres.Config{URL: credential.SecretOf(strings.TrimSpace(login)), CA: serverCA, MaxConnections: spec.Postgres.MaxConnections},
		fly:           fly.Config{Token: credential.SecretOf(token), URL: spec.Fly.APIURL, CA: flyCA, Organization: spec.Fly.Organization, Insecure: spec.Fly.Insecure},
		maxConcurrent: int(spec.MaxConcurrent),
	}, nil
}

// authorities are the certificates that a Secret has; nil where none is named.
func (r *Reconciler) authorities(ctx context.Context, ref *v1alpha1.CASecretReference) ([]byte, error) {
	if ref == nil {
		return nil, nil
	}
	certificates, err := r.secretValue(ctx, ref.Name, ref.Key)
	return []byte(certificates), err
}

// missingSecretError names a Secret, or a key of one, that is not there.
type missingSecretError struct{ namespace, name, key string }

func (e *missingSecretError) Error() string {
	return fmt.Sprintf("Secret %s/%s has no key %s", e.namespace, e.name, e.key)
}

func (r *Reconciler) secretValue(ctx context.Context, name, key string) (string, error) {
	var secret corev1.Secret
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, &secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("reading Secret %s/%s: %w", r.Namespace, name, err)
	}
	if len(secret.Data[key]) == 0 {
		return "", &missingSecretError{r.Namespace, name, key}
	}
	return string(secret.Data[key]), nil
}
