//go:build tools

// Package tools pins what a real Kubernetes API is made of: kube-apiserver, etcd and kubectl, built from their Go modules.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
