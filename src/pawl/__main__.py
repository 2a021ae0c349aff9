"""`python -m pawl` is the `pawl` command."""

from pawl.interfaces.cli.main import main

main()
