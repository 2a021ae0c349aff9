"""`pawl completion`: print or install the completion script of a shell."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the completion script of SHELL.

    For example:

        pawl completion bash > /etc/bash_completion.d/pawl
        pawl completion zsh > ~/.zfunc/_pawl
    """
    from pawl.interfaces.cli.main import app

    print(app.generate_completion(shell=shell))
    return 0
