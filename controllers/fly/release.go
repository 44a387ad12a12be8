package fly

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	flyapi "github.com/superfly/fly-go"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// recordTime bounds all of RecordRelease: a completion waits for it.
const recordTime = 20 * time.Second

// release is a deployment as Fly keeps it. The next `fly deploy` and `fly secrets deploy` start from the newest one.
type release struct {
	ID         string          `json:"id"`
	Version    int             `json:"version"`
	Status     string          `json:"status"`
	Image      string          `json:"imageRef"`
	Strategy   string          `json:"deploymentStrategy"`
	Definition json.RawMessage `json:"configDefinition"`
	CreatedAt  time.Time       `json:"createdAt"`
}

const (
	// maxReleases is how many releases are looked at: as many as it takes to find the last complete one behind some that failed.
	maxReleases = 10
	// maxDefinition bounds the definition of a release, which is an app's fly.toml. A longer one is not carried over.
	maxDefinition = 64 << 10
	maxImage      = 1024
)

// UnmarshalJSON refuses what is no release.
func (r *release) UnmarshalJSON(object []byte) error {
	type plain release // without this method
	var read plain
	if err := json.Unmarshal(object, &read); err != nil {
		return err
	}
	if !opaque.MatchString(read.ID) || read.Version < 1 || read.Version > math.MaxInt32 || len(read.Image) > maxImage ||
		word(read.Strategy) != read.Strategy {
		return errUnreadable
	}
	read.Status = word(read.Status)
	if len(read.Definition) > maxDefinition {
		read.Definition = nil
	}
	*r = release(read)
	return nil
}

// releases are the newest ones of an app, in any order.
type releases []release

// UnmarshalJSON refuses more than were asked for.
func (r *releases) UnmarshalJSON(array []byte) error {
	*r = nil
	if bytes.Equal(array, []byte("null")) {
		return nil
	}
	return elements(array, func(value []byte) error {
		if len(*r) == maxReleases {
			return errUnreadable
		}
		*r = append(*r, release{})
		return json.Unmarshal(value, &(*r)[len(*r)-1])
	})
}

// complete is the status of a release that has been carried out.
const complete = "complete"

// underWay are the statuses of one that may still be carried out.
var underWay = map[string]bool{"pending": true, "running": true}

// RecordRelease has `fly secrets list` show a completed rollout: it makes a release of what the app runs already, or
// finds the one that it made before, and names it on the Machines that `fly deploy` manages, whose processes run on. No failure here is a
// failure of the rollout; the answer says in one sentence what `fly` goes on showing wrongly, "" = nothing.
func (c *Client) RecordRelease(ctx context.Context, r Rollout, cause string) (warning string) {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	machines, release, err := c.findRelease(ctx, r)
	if err != nil {
		return fmt.Sprintf("fly secrets list still shows %s as staged: %s", r.Variable, detail(err))
	}
	if release == nil {
		return ""
	}
	if err := c.nameRelease(ctx, r.App.Name, machines, *release); err != nil {
		return fmt.Sprintf("fly secrets list still shows %s as staged on some Machines: %s", r.Variable, detail(err))
	}
	if release.Status == complete {
		return ""
	}
	if err := c.completeRelease(ctx, r, *release, cause); err != nil {
		return fmt.Sprintf("fly releases still shows release %d as unfinished: %s", release.Version, detail(err))
	}
	return ""
}

// detail is the fact of a failure: all errors of this package are classed.
func detail(err error) string { return failure.As(err).Detail }

// findRelease returns the Machines that are to name a release, and that release. Where there are none, it is nil: `fly deploy` does not
// manage the app, and a release would make it look as if it did.
func (c *Client) findRelease(ctx context.Context, r Rollout) ([]machine, *release, error) {
	machines, short, err := c.machines(ctx, r.App, r.Variable)
	if err != nil {
		return nil, nil, err
	}
	if short != "" {
		return nil, nil, failure.New(failure.Wait, reasons.Unexpected, short)
	}
	machines = slices.DeleteFunc(inScope(machines), func(m machine) bool { return !m.managed() })
	if len(machines) == 0 {
		return nil, nil, nil
	}
	since, err := c.secretSince(ctx, r.App.Name, r.Variable)
	if err != nil {
		return nil, nil, err
	}
	found, err := c.findOrCreate(ctx, r.App.Name, since)
	return machines, found, err
}

// managed: the Machine belongs to `fly deploy`, which goes by this mark, as `fly secrets list` does.
func (m machine) managed() bool {
	return m.settings.platform == flyapi.MachineFlyPlatformVersion2
}

// secretSince is when a secret was last set, by Fly's clock: `fly secrets list` calls it deployed from a release on that is no older.
func (c *Client) secretSince(ctx context.Context, app, variable string) (time.Time, error) {
	secret, err := c.secret(ctx, app, variable)
	if err != nil {
		return time.Time{}, err
	}
	since, err := time.Parse(time.RFC3339, secret.updatedAt)
	if err != nil {
		return time.Time{}, failure.New(failure.Retry, reasons.Unexpected, "Fly does not say when "+variable+" was set")
	}
	return since, nil
}

// findOrCreate makes a release only where none will do: so one whose answer was lost, or whose maker died, is found again.
func (c *Client) findOrCreate(ctx context.Context, app string, since time.Time) (*release, error) {
	releases, err := c.releases(ctx, app)
	if err != nil {
		return nil, err
	}
	found, base, refusal := choose(releases, since)
	if refusal != "" {
		return nil, failure.New(failure.Wait, reasons.Rejected, refusal)
	}
	if found != nil {
		return found, nil
	}
	made, err := c.createRelease(ctx, app, base)
	if failure.ClassOf(err) != failure.Unknown {
		return made, err
	}
	if releases, lost := c.releases(ctx, app); lost == nil {
		if found, _, _ := choose(releases, since); found != nil {
			return found, nil
		}
	}
	return nil, err
}

// choose says which release shows a secret that was set at since: one that is there, or one to be made from base. It refuses where a new
// release would stand in the way of a user's deployment: the newest release is what the next one starts from, and the newest complete
// one is what the app is taken to run. Those two have to be the same thing, so that the new release can be both and change neither.
func choose(releases []release, since time.Time) (found *release, base release, refusal string) {
	slices.SortFunc(releases, func(a, b release) int { return cmp.Compare(b.Version, a.Version) })
	last := slices.IndexFunc(releases, func(r release) bool { return r.Status == complete })
	if last < 0 {
		return nil, base, "the app has no complete release that a new one could be made of"
	}
	base = releases[last]
	if base.Image == "" || !bytes.HasPrefix(bytes.TrimSpace(base.Definition), []byte("{")) {
		return nil, base, fmt.Sprintf("release %d of the app has no definition or no image that a new one could carry over, or a definition of more than 64 KiB", base.Version)
	}
	for _, r := range releases[:last] {
		if !r.sameAs(base) {
			return nil, base, fmt.Sprintf("release %d of the app is %s, and a new one would hide what it was to deploy", r.Version, statusWord(r.Status))
		}
	}
	if newest := releases[0]; !newest.CreatedAt.Before(since) && (newest.Status == complete || underWay[newest.Status]) {
		return &newest, base, ""
	}
	return nil, base, ""
}

// statusWord keeps an odd status out of messages.
func statusWord(status string) string {
	if name.MatchString(status) {
		return status
	}
	return "not complete"
}

// sameAs: both would deploy the same.
func (r release) sameAs(other release) bool {
	return r.Image == other.Image && reflect.DeepEqual(parsed(r.Definition), parsed(other.Definition))
}

// parsed keeps numbers as they are spelt.
func parsed(raw json.RawMessage) (value any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	_ = d.Decode(&value) // a definition that cannot be read is nil
	return value
}

// nameRelease writes the release on the Machines that name another one, side by side.
func (c *Client) nameRelease(ctx context.Context, app string, machines []machine, r release) error {
	errs := make([]error, len(machines))
	var writes sync.WaitGroup
	for i, m := range machines {
		if m.settings.release != strconv.Itoa(r.Version) {
			writes.Go(func() {
				if c.begin(ctx) {
					defer c.end()
					errs[i] = c.nameOn(ctx, app, m, r)
				} else {
					errs[i] = failure.New(failure.Retry, reasons.ConnectionFailed, "Fly took too long for all Machines of "+app)
				}
			})
		}
	}
	writes.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// nameOn writes the release on one Machine, under its lease: a user's deployment that comes in between would be given the wrong name.
func (c *Client) nameOn(ctx context.Context, app string, m machine, r release) error {
	nonce, err := c.acquire(ctx, app, m.ID)
	if err != nil {
		return err
	}
	defer c.releaseLease(ctx, app, m.ID, nonce)
	now, err := c.get(ctx, app, m.ID)
	if err != nil {
		return err
	}
	if now.InstanceID != m.InstanceID {
		return failure.New(failure.Wait, reasons.Superseded, m.title()+" has changed meanwhile")
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]string{
		flyapi.MachineConfigMetadataKeyFlyReleaseId: r.ID, flyapi.MachineConfigMetadataKeyFlyReleaseVersion: strconv.Itoa(r.Version),
	}})
	if err != nil {
		return failure.New(failure.Retry, reasons.Unexpected, "the metadata of "+m.title()+" cannot be built")
	}
	request := machineRequest(app, m.ID, "set metadata", http.MethodPatch, "/metadata")
	request.nonce, request.body = nonce, body
	return c.call(ctx, request, nil)
}
