package report

import (
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// What has to be put right at Fly.io.

func (w words) app() string {
	if w.tenant == nil {
		return ""
	}
	return w.tenant.FlyApp
}

func (w words) flyAppNotFound() (fact, remedy string) {
	return fmt.Sprintf("Fly app %s does not exist", visible(w.app())),
		fmt.Sprintf("Create it (fly apps create %s), or name the tenant's app in the management table.", visible(w.app()))
}

func (w words) flyTokenRejected() (fact, remedy string) {
	token := w.environment.Spec.Fly.TokenSecretRef
	return "Fly token rejected (401)", fmt.Sprintf("Replace key %s in Secret %s/%s.", token.Key, w.Namespace, token.Name)
}

func (w words) flyTokenNotPermitted() (fact, remedy string) {
	token := w.environment.Spec.Fly.TokenSecretRef
	return fmt.Sprintf("Fly refuses the token for app %s: %s", w.app(), w.detail()),
		fmt.Sprintf("Put a token that may change the app into key %s of Secret %s/%s.", token.Key, w.Namespace, token.Name)
}

func (w words) flyRateLimited() (fact, remedy string) {
	return "Fly limits the rate of requests: " + w.detail(), "It is tried again by itself."
}

func (w words) flyAnswerLost() (fact, remedy string) {
	return "Fly's answer was lost", "It is made again by itself, with a new password."
}

func (w words) machinesBlocked() (fact, remedy string) {
	return fmt.Sprintf("The Machines of app %s can not be updated now: %s", w.app(), w.detail()), fmt.Sprintf("It is tried again by itself; see fly machine list -a %s", w.app())
}

func (w words) secretHidden() (fact, remedy string) {
	return fmt.Sprintf("App %s would go on with its previous password: %s", w.app(), w.detail()),
		fmt.Sprintf("Take it out of the app's configuration and deploy; or, if it is meant: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"delivery\":{\"fly\":{\"acceptHidden\":true}}}}'", w.object.Namespace, w.object.Name)
}

func (w words) machineUnhealthy() (fact, remedy string) {
	remedy = fmt.Sprintf("Repair the Machine, and a minute later the roll-out goes on by itself (fly logs -a %s); ", w.app())
	if pass.Deleted(w.In) {
		return "The roll-out has halted: " + w.detail(), remedy + w.letGo()
	}
	return "The roll-out has halted: " + w.detail(), remedy + fmt.Sprintf("or raise spec.rotationGeneration to %d.", w.nextGeneration())
}

func (w words) flyRetried() (fact, remedy string) {
	return "Fly did not do it: " + w.detail(), fmt.Sprintf("It is tried again by itself; see fly status -a %s", w.app())
}
