"""Hosts over SSH: verified host keys, one kept connection each, every change behind the guard."""

from pawl.adapters.hosts.connection import Connections, Ran
from pawl.adapters.hosts.inventory import Inventory
from pawl.adapters.hosts.reader import HostReader
from pawl.adapters.hosts.ssh import SshHosts

__all__ = ["Connections", "HostReader", "Inventory", "Ran", "SshHosts"]
