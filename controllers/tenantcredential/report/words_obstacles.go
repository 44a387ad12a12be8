package report

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// What has to be put right in Kubernetes, in PostgreSQL, and at the connection Secret.

func (w words) detail() string          { return w.obstacle.Failure.Detail }
func (w words) environmentName() string { return w.object.Spec.EnvironmentRef.Name }

func (w words) environmentNotFound() (fact, remedy string) {
	remedy = "To fix: create the environment; or recreate this object with the name of an existing one."
	if pass.Deleted(w.In) {
		remedy = "To fix: create the environment again, and the rotation continues; " + w.letGo()
	}
	return fmt.Sprintf("TenantEnvironment %s does not exist", w.environmentName()), remedy
}

func (w words) environmentNotReady() (fact, remedy string) {
	return fmt.Sprintf("TenantEnvironment %s is not ready (%s)", w.environmentName(), w.detail()), "Retrying automatically."
}

func (w words) environmentTerminating() (fact, remedy string) {
	return fmt.Sprintf("TenantEnvironment %s is being deleted, and no rotation starts in it", w.environmentName()),
		"To fix: create the environment again once it is gone, and this rotation starts; or delete this object."
}

func (w words) invalidSpec() (fact, remedy string) {
	if w.obstacle.Field == pass.RolloutPolicyField {
		return "spec.delivery.fly.rolloutPolicy Staged needs two logins, and the strategy is InPlace",
			fmt.Sprintf("To fix: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"rotation\":{\"strategy\":\"Overlap\"}}}'", w.object.Namespace, w.object.Name)
	}
	newest := pass.NewestRevision(w.In, w.tenant)
	return fmt.Sprintf("spec.rotationRequest asks to replace revision %d, and the newest revision is %d", pass.Request(w.In).ReplacesRevision, newest),
		fmt.Sprintf("To replace that revision: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"rotationRequest\":{\"replacesRevision\":%d}}}'", w.object.Namespace, w.object.Name, newest)
}

func (w words) rotationsPaused() (fact, remedy string) {
	fact = fmt.Sprintf("Rotations of TenantEnvironment %s are paused", w.environmentName())
	if w.detail() != "" {
		fact += " (" + w.detail() + ")"
	}
	if w.regressed() {
		fact = w.lostRevision() + ". " + fact
	}
	return fact, "To fix: acknowledge the pause with the command in the environment's condition RotationsPaused."
}

func (w words) namespaceNotAllowed() (fact, remedy string) {
	accepted := metav1.FormatLabelSelector(w.environment.Spec.AllowedNamespaces.Selector.LabelSelector())
	return fmt.Sprintf("TenantEnvironment %s does not accept namespace %s; it accepts namespaces with %s", w.environmentName(), w.object.Namespace, accepted),
		"To fix: move the object to such a namespace; or, if you may, label this namespace, or extend spec.allowedNamespaces of the environment."
}

func (w words) tenantNotBound() (fact, remedy string) {
	return fmt.Sprintf("Namespace %s is not bound to tenant %s", w.object.Namespace, w.object.Spec.TenantID),
		fmt.Sprintf("To fix, if the tenant belongs here: kubectl label namespace %s %s%s=%s", w.object.Namespace, v1alpha1.TenantLabelPrefix, w.object.Spec.TenantID, v1alpha1.TenantLabelAllowed)
}

func (w words) ownershipConflict() (fact, remedy string) {
	return w.detail(),
		fmt.Sprintf("To fix: delete one of the two objects; or, to take over the claims of a cluster that is gone: kubectl annotate tenv %s %s=<that cluster's kube-system UID>", w.environmentName(), v1alpha1.TakeOverFromAnnotation)
}

// driftDuringRollout is how to get on from a password that is not the revision's. Nothing starts on an object that is being deleted.
func (w words) driftDuringRollout() (fact, remedy string) {
	remedy = fmt.Sprintf("To fix: raise spec.rotationGeneration to %d, which sets a new password everywhere.", w.nextGeneration())
	if pass.Deleted(w.In) {
		remedy = fmt.Sprintf("To fix: restore the password of revision %d, ", w.tenant.Last.Revision) + w.letGo()
	}
	return fmt.Sprintf("Another client changed the password of %s during the rollout", w.login()), remedy
}

// letGo is how an object that is being deleted goes without its rotation being finished.
func (w words) letGo() string {
	return fmt.Sprintf("or remove the finalizer and leave the tenant as it is: kubectl -n %s patch tcred %s --type merge -p '{\"metadata\":{\"finalizers\":null}}'", w.object.Namespace, w.object.Name)
}

func (w words) tenantNotFound() (fact, remedy string) {
	return fmt.Sprintf("Table %s of environment %s has no row for tenant %s", w.table(), w.environmentName(), w.object.Spec.TenantID),
		"To fix: insert the row; or delete this object if the ID is wrong."
}

func (w words) roleNotFound() (fact, remedy string) {
	return fmt.Sprintf("Role %s does not exist", visible(w.tenant.Role)),
		fmt.Sprintf("To fix, in PostgreSQL: CREATE ROLE %s LOGIN; or name the tenant's role in the management table.", postgres.Identifier(w.tenant.Role))
}

func (w words) roleNotAllowed() (fact, remedy string) {
	return w.detail(), "The operator does not rotate such a role. Once the role is fixed, the rotation continues."
}

func (w words) nameConflict() (fact, remedy string) {
	return w.detail(), "Once the role has a name of its own, the operator continues."
}

func (w words) verificationFailed() (fact, remedy string) {
	return fmt.Sprintf("A login as %s with the new password failed: %s", w.refused(), w.detail()),
		"To fix: check pg_hba.conf and any pooler between the operator and the server. Retrying automatically with a new password."
}

func (w words) retried() (fact, remedy string) { return w.detail(), "Retrying automatically." }

func (w words) secretNotOwned() (fact, remedy string) {
	return fmt.Sprintf("Secret %[1]s/%[2]s exists but is not managed by TenantCredential %[1]s/%[3]s, or is immutable", w.object.Namespace, w.detail(), w.object.Name),
		fmt.Sprintf("To fix: write another name into spec.delivery.connectionSecret; or, if no consumer needs the Secret: kubectl -n %s delete secret %s", w.object.Namespace, w.detail())
}

// connectionSecretRole is the ClusterRole of config/components/connection-secret.
const connectionSecretRole = "tenant-credential-operator-connection-secret" //nolint:gosec // the name of a role

func (w words) secretNotPermitted() (fact, remedy string) {
	return fmt.Sprintf("Kubernetes refused the operator's access to Secret %s/%s (HTTP 403: a missing permission, a quota, or an admission policy)", w.object.Namespace, w.detail()),
		fmt.Sprintf("To fix: kubectl -n %s create rolebinding %[2]s --clusterrole=%[2]s --serviceaccount=%[3]s:tenant-credential-operator",
			w.object.Namespace, connectionSecretRole, w.Namespace)
}

func (w words) secretRejected() (fact, remedy string) {
	return w.detail(), fmt.Sprintf("Retrying automatically. To find the cause: kubectl -n %s get resourcequota,secret; and check the admission policies.", w.object.Namespace)
}

func (w words) secretRetried() (fact, remedy string) {
	return w.detail(), "Retrying automatically."
}
