"""HAProxy by its runtime socket over SSH."""

from pawl.adapters.balancer.haproxy import HaproxyBalancer

__all__ = ["HaproxyBalancer"]
