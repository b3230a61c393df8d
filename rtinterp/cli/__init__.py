"""The command line. Each command is a module of its own, imported only when it is called."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import keyword
import shutil
import signal
import sys
import textwrap
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence

COMMANDS = {
    "train": "train one model, or several seeds of it, and store the runs",
    "list": "list, filter and sort the stored runs, or write them to a table",
    "show": "show one stored run: spec, environment, the command that remakes it, accuracy over steps",
    "verify": "check every file of every stored run",
    "export": "write one stored run as one portable file, or as a Hugging Face GPT-2 folder",
    "import": "check a portable file and store its run",
    "sweep": "train the runs of experiments under a time limit, or say what they would cost",
    "figures": "draw figures and tables, training what they need",
    "ladder": "find the least widths at which a task is solved as it grows harder",
}
NAME_WIDTH = 8
#: As argparse ends.
WRONG_COMMAND_LINE = 2
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
#: Commands that leave finished runs and checkpoints when they are cut off.
TRAIN = ("train", "sweep", "figures", "ladder")
GOES_ON = "finished runs are stored, the same command goes on from there"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; what a user can cause is told in a line, without a traceback."""
    parser = argparse.ArgumentParser(
        prog="rtinterp",
        description="Train random transformers in their embeddings alone, and open them up.",
        epilog="commands:\n" + listing(COMMANDS, NAME_WIDTH),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", nargs="?", help="one of those below; COMMAND --help tells more")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help(sys.stderr)
        return WRONG_COMMAND_LINE
    if options.command not in COMMANDS:
        parser.error(unknown("command", options.command, COMMANDS))
    return call(options.command, options.arguments)


def call(command: str, arguments: Sequence[str] | None = None) -> int:
    """Import and run a command; errors a user can cause end in one line and status 1, SIGINT in 130, SIGTERM in 143."""
    if arguments is None:
        arguments = sys.argv[1:]
    try:
        module = command + "_" * keyword.iskeyword(command)
        with _plain_warnings(), _termination():
            importlib.import_module(f"rtinterp.cli.{module}").main(arguments)
    except KeyboardInterrupt as interrupt:
        print(_cut_off("interrupted", command, str(interrupt)), file=sys.stderr)
        return INTERRUPTED
    except SystemExit as exit_:
        if exit_.code != TERMINATED:
            raise
        print(_cut_off("terminated", command), file=sys.stderr)
        return TERMINATED
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except (ValueError, ArithmeticError, MemoryError, OSError, ImportError) as error:
        print(f"rtinterp {command}: {_told(error)}", file=sys.stderr)
        return 1
    return 0


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _cut_off(how: str, command: str, what_was_kept: str = "") -> str:
    kept = what_was_kept or (GOES_ON if command in TRAIN else "")
    return f"{how}; {kept}" if kept else how


@contextlib.contextmanager
def _termination() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that nothing is left behind."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """A warning is a line for the user, without the place in the source that gave it."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"rtinterp: {message}", file=sys.stderr)
        yield


def listing(told: Mapping[str, str], name_width: int) -> str:
    """List names and what they are; what the terminal has no room for goes on below itself."""
    width, indent = shutil.get_terminal_size().columns, " " * (name_width + 3)
    return "\n".join(
        textwrap.fill(text, width, initial_indent=f"  {name:{name_width}} ", subsequent_indent=indent)
        for name, text in told.items()
    )


def unknown(kind: str, name: str, known: Collection[str]) -> str:
    """Say that there is no such thing, what was probably meant, and what there is."""
    near = [other for other in known if name and other.startswith(name)] or difflib.get_close_matches(
        name, known, cutoff=0.4
    )
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {name!r}; {meant}known: {', '.join(known)}"
