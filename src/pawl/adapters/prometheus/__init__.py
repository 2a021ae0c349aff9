"""Prometheus-compatible servers and Alertmanager, over HTTP."""

from pawl.adapters.prometheus.alertmanager import AlertmanagerSilences
from pawl.adapters.prometheus.server import PrometheusMetrics

__all__ = ["AlertmanagerSilences", "PrometheusMetrics"]
