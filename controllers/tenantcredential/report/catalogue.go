package report

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// entry is what an obstacle means for the user.
type entry struct {
	// unknown: the part that the obstacle is at cannot be seen, so that its condition is Unknown. Else it is False.
	unknown bool
	// onboarding: it is normal while a tenant is being set up, and counts as progress at first.
	onboarding bool
	// ready and stalled are the reasons of these conditions, where they are not the obstacle's.
	ready, stalled string
	// words are the fact, and what mends it: a command, or that it is retried.
	words func(w words) (fact, remedy string)
}

// catalogue has every obstacle, by the condition that shows it ("" = Ready alone) and the reason. The reason "" is for all others.
var catalogue = map[string]map[failure.Reason]entry{
	"": {
		reasons.EnvironmentNotFound:    {onboarding: true, words: words.environmentNotFound},
		reasons.EnvironmentTerminating: {onboarding: true, words: words.environmentTerminating},
		reasons.InvalidSpec:            {words: words.invalidSpec},
		reasons.RotationsPaused:        {words: words.rotationsPaused},
		reasons.NamespaceNotAllowed:    {words: words.namespaceNotAllowed},
		reasons.TenantNotBound:         {words: words.tenantNotBound},
		reasons.OwnershipConflict:      {words: words.ownershipConflict},
	},
	v1alpha1.PostgresSyncedCondition: {
		reasons.EnvironmentNotReady:  {unknown: true, onboarding: true, words: words.environmentNotReady},
		reasons.DriftDetected:        {words: words.driftDuringRollout},
		reasons.OwnershipConflict:    {words: words.ownershipConflict},
		reasons.TenantNotFound:       {onboarding: true, words: words.tenantNotFound},
		reasons.RoleNotFound:         {onboarding: true, words: words.roleNotFound},
		reasons.RoleNotAllowed:       {words: words.roleNotAllowed},
		reasons.NameConflict:         {words: words.nameConflict},
		reasons.VerificationFailed:   {words: words.verificationFailed},
		reasons.ConnectionFailed:     unreachable,
		reasons.ConnectionRefused:    unreachable,
		reasons.HostNotFound:         unreachable,
		reasons.CertificateUntrusted: unreachable,
		reasons.CertificateMismatch:  unreachable,
		reasons.CertificateInvalid:   unreachable,
		reasons.MethodNotAccepted:    unreachable,
		"":                           {words: words.retried},
	},
	v1alpha1.ExternalAccessCondition: {
		"": {unknown: true, words: words.retried},
	},
	v1alpha1.ConnectionSecretSyncedCondition: {
		reasons.SecretNotOwned:   {words: words.secretNotOwned},
		reasons.PermissionDenied: {words: words.secretNotPermitted},
		reasons.Rejected:         {words: words.secretRejected},
		"":                       {unknown: true, words: words.secretRetried},
	},
	v1alpha1.FlySecretSyncedCondition:    flyEntries,
	v1alpha1.FlyMachinesUpdatedCondition: flyEntries,
}

// unreachable is a server that has not been asked anything: the environment says more.
var unreachable = entry{unknown: true, ready: reasons.EnvironmentNotReady, words: words.retried}

var flyEntries = map[failure.Reason]entry{
	reasons.FlyAppNotFound:       {onboarding: true, words: words.flyAppNotFound},
	reasons.MachineUnhealthy:     {stalled: reasons.RolloutHalted, words: words.machineUnhealthy},
	reasons.SecretHidden:         {words: words.secretHidden},
	reasons.AuthenticationFailed: {unknown: true, words: words.flyTokenRejected},
	reasons.PermissionDenied:     {unknown: true, words: words.flyTokenNotPermitted},
	reasons.RateLimited:          {unknown: true, words: words.flyRateLimited},
	reasons.OutcomeUnknown:       {unknown: true, words: words.flyAnswerLost},
	reasons.LeaseHeld:            {unknown: true, words: words.machinesBlocked},
	reasons.HostUnreachable:      {unknown: true, words: words.machinesBlocked},
	"":                           {unknown: true, words: words.flyRetried},
}

// look finds an obstacle's entry.
func look(o *pass.Obstacle) entry {
	of := catalogue[o.At]
	if found, is := of[o.Failure.Reason]; is {
		return found
	}
	return of[""]
}

// atObstacle is the condition of a kind, if an obstacle is at this one.
func (w words) atObstacle(kind string, o *pass.Obstacle) (metav1.Condition, bool) {
	if o == nil || o.At != kind {
		return metav1.Condition{}, false
	}
	status := metav1.ConditionFalse
	if look(o).unknown || o.Failure.Class == failure.Unknown {
		status = metav1.ConditionUnknown
	}
	return condition(kind, status, string(o.Failure.Reason), w.at(o)), true
}

// at words an obstacle: the fact, what it means for the tenant, and what mends it.
func (w words) at(o *pass.Obstacle) string {
	w.obstacle = o
	fact, remedy := look(o).words(w)
	return strings.TrimSuffix(fact, ".") + ". " + w.consequence() + " " + remedy
}

// atStandstill says whether an edit in Kubernetes is needed, or waiting is enough.
func (w words) atStandstill() (ready metav1.Condition, beside *metav1.Condition) {
	found, reason, message := look(w.obstacle), string(w.obstacle.Failure.Reason), w.at(w.obstacle)
	if found.ready != "" {
		reason = found.ready
	}
	switch {
	case found.stalled != "":
		return notReady(v1alpha1.StalledCondition, reason, found.stalled, message)
	case w.obstacle.Failure.Class == failure.Stall, w.onboardingTooLong():
		return notReady(v1alpha1.StalledCondition, reason, reason, message)
	default:
		return notReady(v1alpha1.ReconcilingCondition, reason, reasons.RetryingAfterFailure, message)
	}
}

// onboardingTooLong says that something which is missing while a tenant is being set up has been missing for longer than that takes.
func (w words) onboardingTooLong() bool {
	shown := w.readyBefore()
	return look(w.obstacle).onboarding && shown != nil && shown.Status == metav1.ConditionFalse && shown.Reason == string(w.obstacle.Failure.Reason) &&
		w.In.Now.Sub(shown.LastTransitionTime.Time) > rotation.OnboardingPeriod
}
