"""A live cluster's evidence: metadata of its objects, Helm releases, metrics, audit logs."""

from pawl.adapters.scan.live import LiveScan, Server

__all__ = ["LiveScan", "Server"]
