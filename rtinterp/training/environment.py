"""What a run ran on and how it was made: versions, device, memory, duration, source, command."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from rtinterp.strict import strict
from rtinterp.training.spec import RunSpec

GIT_SECONDS = 5.0
#: Even where JSON writes every character as twelve, it fits the file that records it.
MAX_COMMAND_CHARACTERS = 4_000

#: What makes a process, not a program, of sys.argv[0].
_NO_PROGRAM = ("", "-c", "-m")


@strict
class Environment:
    """Recorded beside a run; it does not enter the run id. What an earlier format version did not record is None.

    Attributes:
        n_stacked: models trained in the same forward pass, which share ``duration_seconds`` and the memory.
        finished_at: UTC, ISO 8601.
        cuda: version that torch was built for; None for a CPU build.
        numpy: draws the initial tensors.
        tokenizers: learns the vocabulary of a text.
        git_commit: of the checkout that rtinterp ran from; None where it is installed without one.
        git_dirty: whether files of that checkout differed from the commit.
        peak_memory_bytes: most that torch had allocated on a GPU, most that the process had resident for a CPU; of
            the whole process up to the end of this run. None where the system does not tell.
        command: the command line of the process that made the run, quoted for a shell; None in a notebook or shell.
        task_module: the module that defines the class of the task, ``"__main__"`` for a notebook or script; None for a
            task of rtinterp's own.
        body_module: the same for the body.
    """

    device: str
    n_threads: int
    python: str
    torch: str
    rtinterp: str
    n_stacked: int
    duration_seconds: float
    finished_at: str
    cuda: str | None = None
    numpy: str | None = None
    tokenizers: str | None = None
    transformer_lens: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    peak_memory_bytes: int | None = None
    command: str | None = None
    task_module: str | None = None
    body_module: str | None = None

    @property
    def device_type(self) -> str:
        """What ``--device`` takes: ``"cpu"`` or ``"cuda"``."""
        return "cpu" if self.device.startswith("cpu") else "cuda"


_FIELDS = tuple(field.name for field in dataclasses.fields(Environment))

#: Names of the fields that each format version of a stored run has; later ones came at the end.
ENVIRONMENT_FIELDS: dict[int, tuple[str, ...]] = {
    1: _FIELDS[: _FIELDS.index("cuda")],
    2: _FIELDS[: _FIELDS.index("task_module")],
    3: _FIELDS,
}


def describe_environment(device: torch.device, specs: Sequence[RunSpec], duration_seconds: float) -> Environment:
    """Describe what a stack of runs, which differ in their seed alone, was trained on.

    Args:
        duration_seconds: how long all of them took together.
    """
    commit, dirty = git_state()
    return Environment(
        device=describe_device(device),
        n_threads=torch.get_num_threads(),
        python=platform.python_version(),
        torch=torch.__version__,
        rtinterp=_version("rtinterp") or "unknown",
        n_stacked=len(specs),
        duration_seconds=round(duration_seconds, 3),
        finished_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        cuda=torch.version.cuda,
        numpy=_version("numpy"),
        tokenizers=_version("tokenizers"),
        transformer_lens=_version("transformer-lens"),
        git_commit=commit,
        git_dirty=dirty,
        peak_memory_bytes=peak_memory_bytes(device),
        command=command_line(),
        task_module=users_module(specs[0].task),
        body_module=users_module(specs[0].model),
    )


def users_module(part: object) -> str | None:
    """The module that must be imported before a run with this task or body is opened; None where none must."""
    module = type(part).__module__
    return None if module.split(".")[0] == __name__.split(".")[0] else module


@functools.cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@functools.cache
def git_state() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package runs from, and whether it was changed; asked once per process."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None, None
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        return commit, bool(_git(checkout, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None, None


def _git(checkout: Path, *arguments: str) -> str:
    # A question must not lock the index of someone's checkout.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(checkout), *arguments]
    done = subprocess.run(
        command,
        check=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=GIT_SECONDS,
    )
    return done.stdout.strip()


def peak_memory_bytes(device: torch.device) -> int | None:
    """The most memory that the process has had so far, on a GPU as torch allocates it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        # Not getrusage, to which Linux adds what the process that started this one held.
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, ValueError, IndexError):
        return _peak_resident_bytes()


def _peak_resident_bytes() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def command_line() -> str | None:
    """The command line of this process, quoted for a shell; None where there is none, as in a notebook."""
    program, *arguments = getattr(sys, "argv", None) or [""]
    if program in _NO_PROGRAM or "ipykernel" in program:
        return None
    # A script is called by its path, an installed command by its name.
    called = ["python", program] if program.endswith(".py") else [Path(program).name]
    quoted = shlex.join([*called, *arguments])
    return "".join(c if c.isprintable() else "?" for c in quoted)[:MAX_COMMAND_CHARACTERS]


def describe_device(device: torch.device | str) -> str:
    """The name of a GPU, the architecture of a CPU."""
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The device to train on: as asked, or CUDA where there is one.

    Raises:
        ValueError: not a CPU or CUDA device, or CUDA is asked for and not there.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is not a device; use 'cpu' or 'cuda'") from error
    if resolved.type not in ("cpu", "cuda"):
        raise ValueError(f"device={device!r} is not supported; use 'cpu' or 'cuda'")
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r} was asked for, but torch {torch.__version__} finds no CUDA device here")
    return resolved
