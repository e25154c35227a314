#!/usr/bin/env bash
# The whole-system tests on a kind cluster, with a released Kueue and the controller's image.
#
#   e2e/kind/run.sh [--dry-run] [--keep] [-- PYTEST ARGUMENTS]
#
# --dry-run prints every command and runs none. --keep leaves the cluster, also after a failure.
# Needs docker, kind, kubectl, access to the internet, and the virtual environment that `make`
# creates. It goes through `make e2e-kind`; ARGS=... passes these options on.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

KUEUE_VERSION=${KUEUE_VERSION:-v0.19.2}
KUEUE_MANIFESTS=https://github.com/kubernetes-sigs/kueue/releases/download/$KUEUE_VERSION/manifests.yaml
CLUSTER=lws-kueue
# The name that the Deployment asks for; it is loaded into the nodes and never pulled.
IMAGE=$(sed -n 's/^ *image: //p' deploy/manager/deployment.yaml)

dry_run=false
keep=false
while (($#)); do
  case $1 in
    --dry-run) dry_run=true ;;
    --keep) keep=true ;;
    --) shift; break ;;
    *) echo "usage: $0 [--dry-run] [--keep] [-- PYTEST ARGUMENTS]" >&2; exit 2 ;;
  esac
  shift
done

# Print a command as it could be typed, and run it unless this is a dry run.
run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  "$dry_run" || "$@"
}

need() {
  "$dry_run" && return
  command -v "$1" >/dev/null || { echo "$0: $1 is needed and not installed" >&2; exit 1; }
}

need docker
need kind
need kubectl

# A kubeconfig of its own: the user's current context stays what it is.
if "$dry_run"; then
  work=/tmp/lws-kueue-kind
else
  work=$(mktemp -d -t lws-kueue-kind.XXXXXX)
fi
KUBECONFIG=$work/kubeconfig
export KUBECONFIG

clean_up() {
  if "$keep"; then
    echo "The cluster stays: export KUBECONFIG=$KUBECONFIG; kind delete cluster --name $CLUSTER"
    return
  fi
  run kind delete cluster --name "$CLUSTER" --kubeconfig "$KUBECONFIG"
  run rm -rf "$work"
}
trap clean_up EXIT

run docker build -t "$IMAGE" .
run kind create cluster --name "$CLUSTER" --config e2e/kind/cluster.yaml \
  --kubeconfig "$KUBECONFIG" --wait 5m
run kind load docker-image "$IMAGE" --name "$CLUSTER"

# Kueue, without its built-in integration for LeaderWorkerSets.
run kubectl apply --server-side -f "$KUEUE_MANIFESTS"
run kubectl apply --server-side --force-conflicts -f e2e/kind/kueue-config.yaml
run kubectl -n kueue-system rollout restart deployment/kueue-controller-manager
run kubectl -n kueue-system rollout status deployment/kueue-controller-manager --timeout=5m

# The controller as a user installs it, and one set that it has to bring up.
run kubectl apply --server-side -k deploy
run kubectl -n lws-kueue-system rollout status deployment/lws-kueue --timeout=5m
run kubectl apply -f examples/queues.yaml -f examples/leaderworkerset.yaml
run kubectl wait leaderworkerset/sample --for=condition=Available --timeout=5m
run kubectl delete --wait -f examples/leaderworkerset.yaml -f examples/queues.yaml

# The tests stop and kill the controller, so they run it themselves, with the token of the same
# service account; two at once would be one too many.
run kubectl -n lws-kueue-system scale deployment/lws-kueue --replicas=0
run kubectl -n lws-kueue-system wait pod -l app.kubernetes.io/name=lws-kueue --for=delete \
  --timeout=2m
run .venv/bin/pytest e2e --kubeconfig "$KUBECONFIG" "$@"
