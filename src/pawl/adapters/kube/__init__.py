"""The Kubernetes API: a maintained client's configuration and TLS, raw bodies, partial structs."""

from pawl.adapters.kube.client import KubeClient
from pawl.adapters.kube.holders import ApiHolders
from pawl.adapters.kube.lease import ApiLease
from pawl.adapters.kube.port import ApiKube
from pawl.adapters.kube.reader import KubeReader

__all__ = ["ApiHolders", "ApiKube", "ApiLease", "KubeClient", "KubeReader"]
