"""etcd by its own JSON gateway over mutual TLS."""

from pawl.adapters.etcd.gateway import Gateway
from pawl.adapters.etcd.port import GatewayEtcd
from pawl.adapters.etcd.reader import EtcdReader

__all__ = ["EtcdReader", "Gateway", "GatewayEtcd"]
