"""What the package says of itself, in more than one place."""

import re
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_citation_is_of_this_version():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited is not None
    assert cited[1] == version("rtinterp")


def test_the_package_says_that_it_is_typed():
    assert files("rtinterp").joinpath("py.typed").is_file()


def test_the_extra_for_notebooks_has_what_bars_of_other_packages_need():
    extra = re.search(r"^notebooks = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert extra is not None
    # Without it, tqdm warns in red on the first import of transformer_lens.
    assert {"jupyterlab", "ipywidgets"} <= set(re.findall(r'"([\w-]+)>=', extra[1]))
