"""How every command reads its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tyro


def run_command(command: Callable[..., None], arguments: Sequence[str], program: str, *, prefixes: bool = True) -> None:
    """Call a command with the options that its signature describes; what is left out stays None, and cannot be typed.

    Args:
        prefixes: whether the options of a group begin with its name, as ``--slurm.gpus`` does.

    Raises:
        SystemExit: the arguments ask for help, or are wrong, which has been told.
    """
    config = (tyro.conf.DisallowNone, *(() if prefixes else (tyro.conf.OmitArgPrefixes,)))
    tyro.cli(command, args=arguments, prog=program, config=config)
