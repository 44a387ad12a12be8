package checker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
)

// object is what the checker reads of a TenantCredential.
type object struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		TenantID       string `json:"tenantID"`
		EnvironmentRef struct {
			Name string `json:"name"`
		} `json:"environmentRef"`
		RotationGeneration int64 `json:"rotationGeneration"`
		Suspend            bool  `json:"suspend"`
		Delivery           struct {
			Fly *struct {
				Variable string `json:"variable"`
			} `json:"fly"`
			ConnectionSecret *struct {
				Name string `json:"name"`
			} `json:"connectionSecret"`
		} `json:"delivery"`
	} `json:"spec"`
	Status struct {
		ObservedGeneration int64       `json:"observedGeneration"`
		RotationGeneration int64       `json:"rotationGeneration"`
		Revision           int64       `json:"revision"`
		Conditions         []condition `json:"conditions"`
		LastRotation       *struct {
			Revision       int64   `json:"revision"`
			CompletionTime *string `json:"completionTime"`
		} `json:"lastRotation"`
		Fly *struct {
			AppName       string `json:"appName"`
			SecretVersion string `json:"secretVersion"`
			SecretDigest  string `json:"secretDigest"`
		} `json:"fly"`
	} `json:"status"`

	tenant *tenant // nil = PostgreSQL knows none of this ID
}

type metadata struct {
	Namespace         string           `json:"namespace"`
	Name              string           `json:"name"`
	UID               string           `json:"uid"`
	Generation        int64            `json:"generation"`
	DeletionTimestamp *string          `json:"deletionTimestamp"`
	OwnerReferences   []ownerReference `json:"ownerReferences"`
}

type ownerReference struct {
	APIVersion string `json:"apiVersion"`
	UID        string `json:"uid"`
}

type condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// environmentObject is what the checker reads of a TenantEnvironment.
type environmentObject struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		Postgres struct {
			LoginSecretRef secretKey `json:"loginSecretRef"`
			Internal       struct {
				Host string `json:"host"`
				Port int    `json:"port"`
			} `json:"internal"`
		} `json:"postgres"`
		Fly struct {
			TokenSecretRef secretKey `json:"tokenSecretRef"`
		} `json:"fly"`
	} `json:"spec"`
}

type secretKey struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// address is the host and port that a DATABASE_URL has to name.
func (e environmentObject) address() string {
	return net.JoinHostPort(e.Spec.Postgres.Internal.Host, strconv.Itoa(cmp.Or(e.Spec.Postgres.Internal.Port, 5432)))
}

func (o *object) name() string { return o.Metadata.Namespace + "/" + o.Metadata.Name }

func (o *object) variable() string {
	if o != nil && o.Spec.Delivery.Fly != nil && o.Spec.Delivery.Fly.Variable != "" {
		return o.Spec.Delivery.Fly.Variable
	}
	return "DATABASE_URL"
}

// is says whether a condition is True.
func (o *object) is(kind string) bool { return o.condition(kind).Status == "True" }

func (o *object) condition(kind string) condition {
	for _, c := range o.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return condition{}
}

// readObjects reads the two kinds of the operator's API.
func (w *world) readObjects(ctx context.Context) error {
	var credentials struct{ Items []*object }
	if err := w.config.kubectlJSON(ctx, &credentials, "get", "tenantcredentials.credentials.systemprompt.io", "-A", "-o", "json"); err != nil {
		return err
	}
	w.objects = credentials.Items
	var environments struct{ Items []environmentObject }
	if err := w.config.kubectlJSON(ctx, &environments, "get", "tenantenvironments.credentials.systemprompt.io", "-o", "json"); err != nil {
		return err
	}
	w.environments = map[string]environmentObject{}
	for _, e := range environments.Items {
		w.environments[e.Metadata.Name] = e
	}
	return nil
}

func (c Config) kubectlJSON(ctx context.Context, into any, arguments ...string) error {
	output, err := c.kubectl(ctx, arguments...)
	if err != nil {
		return err
	}
	return json.Unmarshal(output, into)
}

func (c Config) kubectl(ctx context.Context, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, cmp.Or(c.Kubectl, "kubectl"), arguments...)
	command.Env = os.Environ()
	if c.Kubeconfig != "" {
		command.Env = append(command.Env, "KUBECONFIG="+c.Kubeconfig)
	}
	var complaints bytes.Buffer
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("kubectl %s: %w", arguments[0], err), errors.New(complaints.String()))
	}
	return output, nil
}
