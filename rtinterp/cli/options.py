"""How every command reads its options, and in what lines it tells what is wrong with them."""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tyro

#: Characters a line; none of what tyro tells is broken at so many.
WIDTH = 10_000
#: What tyro says of a wrong value, and how it is said here.
REWORDED = {
    r"^Error parsing (?!-)\S+: |^Error parsing ": "",
    # Errors of ours name the value themselves.
    r"^--\S+: (?=\w+=)": "",
    r"invalid literal for int\(\) with base 10: (.*)": r"\1 is no whole number",
    r"no type matching (.*?) could be instantiated from \[(.*?)\]\..*": r"\2 is no \1",
    r"Could not find valid parse for arguments: \[(.*)\]": r"\1: one of them is of a wrong kind",
    r"^Missing value for argument '(.*)'\. .*": r"\1: there is no value after it",
    r"^invalid choice (.*) for argument '(.*)'\. Expected one of \((.*)\)\.": r"\2: \1 is none of \3",
    r"^Unrecognized options: (.*)": r"\1: there is nothing that takes it",
}
#: How alike an option is that was probably meant, from 0 to 1.
ALIKE = 0.7


def run_command(command: Callable[..., None], arguments: Sequence[str], program: str, *, prefixes: bool = True) -> None:
    """Call a command with the options that its signature describes; what is left out stays None, and cannot be typed.

    Args:
        prefixes: whether the options of a group begin with its name, as ``--slurm.gpus`` does.

    Raises:
        SystemExit: the arguments ask for help, or are wrong, which has been told in a line for each fault.
    """
    config = (tyro.conf.DisallowNone, *(() if prefixes else (tyro.conf.OmitArgPrefixes,)))

    @functools.wraps(command)
    def read(*args: Any, **options: Any) -> Callable[[], None]:
        return functools.partial(command, *args, **options)

    def parsed(words: Sequence[str]) -> Callable[[], None]:
        return tyro.cli(read, args=words, prog=program, config=config)

    if {"-h", "--help"} & set(arguments):
        parsed(arguments)
    told = io.StringIO()
    try:
        # To what is neither a terminal nor UTF-8, tyro writes without colours, and its boxes in ASCII.
        with _wide(), contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            call = parsed(arguments)
    except SystemExit:
        for line in _faults(told.getvalue(), lambda: _options_in_help(parsed)):
            print(f"{program}: {line}", file=sys.stderr)
        print(f"{program} --help tells all options", file=sys.stderr)
        raise
    sys.stderr.write(told.getvalue())
    call()


def _faults(box: str, known: Callable[[], list[str]]) -> Iterator[str]:
    """What tyro tells in a box, in a line for each option that is unknown or missing, or for the one wrong value."""
    # The first rule is that below the heading of the box.
    _, *lines = itertools.dropwhile(lambda line: not _is_rule(line), map(str.strip, box.splitlines()))
    unrecognised = re.findall(r"^--[^\s,]+", "\n".join(_listed(lines, "Unrecognized options:")), re.MULTILINE)
    missing = _listed(lines, "Missing from ")
    meant: list[str] = []
    for option in unrecognised:
        names = {name.lstrip("-"): name for name in known()}
        near = [names[name] for name in difflib.get_close_matches(option.lstrip("-"), names, n=1, cutoff=ALIKE)]
        meant += near
        yield f"there is no option {option}" + (f"; did you mean {near[0]}?" if near else "")
    for option, what in zip(missing[::2], missing[1::2], strict=False):
        if option.split()[0] not in meant:
            yield f"{option} is missing: {what.removesuffix('(required)').strip(' .')}"
    if not unrecognised and not missing:
        fault = " ".join(itertools.takewhile(lambda line: not _is_rule(line), lines))
        for theirs, ours in REWORDED.items():
            fault = re.sub(theirs, ours, fault)
        yield fault


def _listed(lines: Iterable[str], heading: str) -> list[str]:
    """The lines below a heading, up to the rule that ends them; or what stands beside it, an entry a line."""
    listed: list[str] = []
    below = False
    for line in lines:
        if line.startswith(heading):
            below = True
            listed += line.removeprefix(heading).strip().split(", ") if not line.endswith(":") else []
        elif _is_rule(line):
            below = False
        elif below:
            listed.append(line)
    return listed


def _is_rule(line: str) -> bool:
    return set(line) == {"-"}


def _options_in_help(parsed: Callable[[Sequence[str]], object]) -> list[str]:
    text = io.StringIO()
    with _wide(), contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        parsed(["--help"])
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", text.getvalue())))


@contextlib.contextmanager
def _wide() -> Iterator[None]:
    """While this lasts, tyro takes the terminal to be so wide that nothing is broken into lines."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
