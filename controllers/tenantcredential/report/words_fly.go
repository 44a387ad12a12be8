package report

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// What has to be put right at Fly.io.

func (w words) app() string {
	if w.tenant == nil {
		return ""
	}
	return w.tenant.FlyApp
}

// sentence begins a detail with a capital letter. The details of package fly begin with a small one where they are also quoted within a sentence.
func sentence(detail string) string {
	first, size := utf8.DecodeRuneInString(detail)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + detail[size:]
}

func (w words) flyAppNotFound() (fact, remedy string) {
	return fmt.Sprintf("Fly app %s does not exist", visible(w.app())),
		fmt.Sprintf("To fix: fly apps create %s; or name the tenant's app in the management table.", visible(w.app()))
}

func (w words) flyTokenRejected() (fact, remedy string) {
	token := w.environment.Spec.Fly.TokenSecretRef
	return "Fly rejected the token (HTTP 401)", fmt.Sprintf("To fix: replace key %s in Secret %s/%s.", token.Key, w.Namespace, token.Name)
}

func (w words) flyTokenNotPermitted() (fact, remedy string) {
	token := w.environment.Spec.Fly.TokenSecretRef
	return sentence(w.detail()),
		fmt.Sprintf("To fix: put a token that may change the app into key %s of Secret %s/%s.", token.Key, w.Namespace, token.Name)
}

func (w words) flyRateLimited() (fact, remedy string) {
	return sentence(w.detail()), "Retrying automatically."
}

func (w words) flyAnswerLost() (fact, remedy string) {
	return "Fly's answer was lost", "Retrying automatically with a new password."
}

func (w words) machinesBlocked() (fact, remedy string) {
	return fmt.Sprintf("The Machines of app %s cannot be updated now: %s", w.app(), w.detail()), fmt.Sprintf("Retrying automatically. To see the Machines: fly machine list -a %s", w.app())
}

func (w words) secretHidden() (fact, remedy string) {
	return fmt.Sprintf("App %s would keep its previous password: %s", w.app(), w.detail()),
		fmt.Sprintf("To fix: remove this setting from the app's configuration and deploy; or, if it is intended: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"delivery\":{\"fly\":{\"acceptHidden\":true}}}}'", w.object.Namespace, w.object.Name)
}

func (w words) machineUnhealthy() (fact, remedy string) {
	remedy = fmt.Sprintf("To fix: repair the Machine (fly logs -a %s), and the rollout continues a minute later; ", w.app())
	if pass.Deleted(w.In) {
		return "The rollout is halted: " + w.detail(), remedy + w.letGo()
	}
	return "The rollout is halted: " + w.detail(), remedy + fmt.Sprintf("or raise spec.rotationGeneration to %d.", w.nextGeneration())
}

func (w words) flyRetried() (fact, remedy string) {
	return sentence(w.detail()), fmt.Sprintf("Retrying automatically. To see the app: fly status -a %s", w.app())
}
