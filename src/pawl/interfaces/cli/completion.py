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

    script = app.generate_completion(shell=shell)
    # Where the command has nothing to offer, bash offers files: `pawl lint dep<TAB>`.
    print(script.replace("complete -F", "complete -o default -F") if shell == "bash" else script)
    return 0
