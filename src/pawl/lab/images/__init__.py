"""The source of the lab's workload program; `pawl.lab.archive` makes container images of it."""
