"""`InventorySource` over the Kubernetes API, the hosts and audit logs."""

from pawl.adapters.inventory.source import LiveInventory

__all__ = ["LiveInventory"]
