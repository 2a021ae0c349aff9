"""Prometheus metrics over HTTP."""

from pawl.adapters.metrics.server import MetricsServer

__all__ = ["MetricsServer"]
