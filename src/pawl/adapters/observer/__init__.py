"""The live cluster, read from every component at its own address."""

from pawl.adapters.observer.live import LiveObserver

__all__ = ["LiveObserver"]
