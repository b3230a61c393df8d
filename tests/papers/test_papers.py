"""Every paper holds together: names, folders, experiments."""

from __future__ import annotations

import importlib
import itertools

import pytest

from rtinterp.figures import Paper
from rtinterp.papers import PAPERS


@pytest.mark.parametrize("paper", PAPERS.values(), ids=list(PAPERS))
def test_a_figure_is_found_by_the_path_of_its_name(paper: Paper) -> None:
    assert PAPERS[paper.name] is paper
    for name, figure in paper.figures.items():
        module = importlib.import_module(f"rtinterp.papers.{paper.name}.{name}")
        assert module.FIGURE is figure
        assert figure.name == name
        assert figure.experiment is None or figure.experiment in paper.experiments
    assert set(paper.compared) <= set(paper.figures)
    assert set(paper.on_language) <= set(paper.experiments)


def test_no_two_papers_share_the_name_of_a_figure() -> None:
    names = list(itertools.chain.from_iterable(paper.figures for paper in PAPERS.values()))
    assert len(names) == len(set(names))
    assert not set(names) & set(PAPERS)


def test_some_figures_of_a_paper_stay_in_its_order() -> None:
    paper = next(iter(PAPERS.values()))
    first, second, *_ = paper.figures
    assert list(paper.only([second, first]).figures) == [first, second]
    assert paper.only([second]).experiments is paper.experiments
