"""pawl.yaml: reading it with all its mistakes at once, its schema, its reference, a first draft."""

from pawl.adapters.config.load import load_config

__all__ = ["load_config"]
