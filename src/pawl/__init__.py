"""pawl upgrades self-hosted Kubernetes clusters on VMs one notch at a time."""

__version__ = "0.1.0"
