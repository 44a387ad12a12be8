package gitops

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

const (
	lasts  = 2 * time.Minute
	period = 10 * time.Second
)

// A pipeline applies what stands in Git every ten seconds (server-side, as Flux and Argo CD do), while people ask for rotations and the operator makes
// them: it never conflicts with anyone, takes nothing back, and never finds a difference. Git raises one tenant's number meanwhile, and sends
// another's credentials to a Secret and back to Fly.
func TestPipelineBesidePeopleAndOperator(t *testing.T) {
	harness.Long(t)
	asked, raised, moved := platform.NewTenant(t, "stopped"), platform.NewTenant(t, "stopped"), platform.NewTenant(t, "stopped")
	seen := watch(t, asked, raised, moved)
	git := &repository{asked: asked, raised: raised, moved: moved}
	p := &pipeline{t: t, git: git}
	p.sync()

	people, stop := context.WithCancel(t.Context())
	requests := make(chan int)
	go func() { requests <- askAgainAndAgain(people, asked, seen) }()
	for begun, n := time.Now(), 1; time.Since(begun) < lasts; n++ {
		time.Sleep(time.Until(begun.Add(time.Duration(n) * period))) // this is the pipeline's period
		switch n {
		case 2, 6, 10:
			p.raise()
		case 4:
			p.toSecret()
		case 8:
			p.backToFly()
		default:
			p.requireNoDiff()
		}
		p.sync()
	}
	stop()
	made := <-requests
	for _, x := range []platform.Tenant{asked, raised, moved} {
		x.WaitReady()
	}

	fmt.Printf("gitops: %d applies and %d diffs; %d rotations asked for by people, %d by Git; the delivery changed twice\n", p.applies, p.diffs, made, git.number)
	require.Greater(t, made, 5)
	require.Empty(t, seen.reverts(), "taken back")
	// metadata.generation grows with each change of a spec: there were those that people and Git made, and no other.
	require.EqualValues(t, 1+made, asked.Get().Metadata.Generation)
	require.EqualValues(t, 1+git.number, raised.Get().Metadata.Generation)
	require.EqualValues(t, 1+2, moved.Get().Metadata.Generation)
	require.EqualValues(t, made, asked.Get().Status.Revision)
	require.EqualValues(t, git.number, raised.Get().Status.Revision)
	require.EqualValues(t, 3, moved.Get().Status.Revision)
}

// repository is what stands in Git.
type repository struct {
	asked, raised, moved platform.Tenant
	number               int
	delivery             []string // of moved
}

func (r *repository) manifest() string {
	return strings.Join([]string{r.asked.Manifest(), r.raised.Manifest(fmt.Sprintf("rotationGeneration: %d", r.number)),
		r.moved.Manifest(append(r.delivery, "rotationGeneration: 1")...)}, "---\n")
}

// pipeline applies it.
type pipeline struct {
	t              *testing.T
	git            *repository
	applies, diffs int
}

var as = []string{"--server-side", "--field-manager=gitops", "-f", "-"}

// sync applies, and finds no difference then.
func (p *pipeline) sync() {
	p.t.Helper()
	output, err := harness.Try(p.git.manifest(), append([]string{"apply"}, as...)...)
	require.NoError(p.t, err, output)
	require.NotContains(p.t, strings.ToLower(output), "conflict")
	p.applies++
	p.requireNoDiff()
}

// requireNoDiff finds no difference to what was applied before. One that is gone at the next look is of a status that was written during the look.
func (p *pipeline) requireNoDiff() {
	p.t.Helper()
	p.diffs++
	var output string
	for range 3 {
		var err error
		if output, err = harness.Try(p.git.manifest(), append([]string{"diff"}, as...)...); err == nil {
			require.Empty(p.t, output)
			return
		}
	}
	require.Fail(p.t, "a difference stays", "%s", output)
}

// raise raises the number in Git, and waits for it as a pipeline does, right after the apply.
func (p *pipeline) raise() {
	p.t.Helper()
	p.git.number++
	p.sync()
	p.git.raised.WaitReady()
	require.EqualValues(p.t, p.git.number, p.git.raised.Get().Status.RotationGeneration)
	platform.RequireAccepted(p.t, p.git.raised.URL())
}

// toSecret has Git deliver to a Secret and no more to Fly.
func (p *pipeline) toSecret() {
	p.t.Helper()
	x := p.git.moved
	x.WaitReady()
	p.git.delivery = []string{"delivery: {connectionSecret: {name: " + x.Name + "-db}}"}
	p.sync()
	x.WaitReady()
	platform.RequireAccepted(p.t, string(x.Secret(x.Name + "-db").Data["url"]))
	platform.RequireRefused(p.t, x.URL())
}

// backToFly takes the delivery out of the manifest.
func (p *pipeline) backToFly() {
	p.t.Helper()
	x := p.git.moved
	p.git.delivery = nil
	p.sync()
	require.Empty(p.t, harness.Kubectl(p.t, "", "-n", "tenants-sandbox", "get", "tcred", x.Name, "-o", "jsonpath={.spec.delivery}"))
	x.WaitReady()
	platform.RequireAccepted(p.t, x.URL())
	platform.RequireRefused(p.t, string(x.Secret(x.Name + "-db").Data["url"]))
}

// askAgainAndAgain asks for one rotation after the other, as people do with kubectl, and returns how many.
func askAgainAndAgain(ctx context.Context, x platform.Tenant, seen *versions) (made int) {
	for ctx.Err() == nil {
		if seen.ready(x.Name) != made { // the last one is not done
			time.Sleep(100 * time.Millisecond) // between two looks
			continue
		}
		output, err := harness.Try("", "-n", "tenants-sandbox", "patch", "tcred", x.Name, "--type=merge",
			"-p", fmt.Sprintf(`{"spec":{"rotationRequest":{"replacesRevision":%d,"reason":"a person asks"}}}`, made))
		if err != nil && ctx.Err() == nil {
			panic(output) // no test can be failed from here
		}
		made++
	}
	return made
}
