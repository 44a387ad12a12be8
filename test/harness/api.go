package harness

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Resources is the path of the operator's API.
const Resources = "/apis/credentials.systemprompt.io/v1alpha1"

// Read reads what the API server has at a path with its query, as JSON. It is for a test that looks again and again: kubectl costs a process each time.
// The stream of a watch ends with ctx.
func Read(ctx context.Context, path string) (io.ReadCloser, error) {
	server, err := apiServer()
	if err != nil {
		return nil, err
	}
	return server.Get().RequestURI(path).Stream(ctx)
}

var apiServer = sync.OnceValues(func() (*rest.RESTClient, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, fmt.Errorf("read the playground's kubeconfig: %w", err)
	}
	config.QPS = -1 // no limit
	config.NegotiatedSerializer = scheme.Codecs
	return rest.UnversionedRESTClientFor(config)
})
