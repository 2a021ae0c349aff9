"""One scan: the source's facts into the collector, as they come."""

from __future__ import annotations

from pawl.core.lint.finding import Report
from pawl.core.scan.collect import Collector
from pawl.ports.scan import ScanSource


async def scan(source: ScanSource, collector: Collector) -> Report:
    """Read everything and judge it. What could not be read stands in the report's `not_read`."""
    await source.read(collector.add)
    return collector.report()
