#!/bin/sh
# Puts kube-apiserver, etcd and kubectl into a folder: hack/kubernetes.sh <folder>. Ready-made ones are taken where they can be had within a minute
# (setup-envtest checks their digests); else they are built from the modules that hack/tools/kubernetes pins.
set -eu
into=$1
tools=$(cd "$(dirname "$0")/tools" && pwd)
mkdir -p "$into"

ready_made() {
	cd "$tools/envtest"
	go build -o "$into/setup-envtest" sigs.k8s.io/controller-runtime/tools/setup-envtest || return 1
	found=$(timeout 60 "$into/setup-envtest" use 1.37.x --bin-dir "$into/ready-made" --print path 2>/dev/null) || return 1
	mv "$found/kube-apiserver" "$found/etcd" "$found/kubectl" "$into/"
}

built() {
	cd "$tools/kubernetes"
	go build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2" -o "$into/" \
		k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl go.etcd.io/etcd/server/v3
	mv "$into/server" "$into/etcd"
}

if (ready_made); then
	echo "kube-apiserver, etcd and kubectl are ready-made ones"
else
	echo "no ready-made kube-apiserver can be had here: building it, etcd and kubectl (once, about 5 minutes on two cores)"
	built
fi
chmod -R u+w "$into"
rm -rf "$into/ready-made" "$into/setup-envtest"
