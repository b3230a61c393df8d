"""What names of papers, figures and experiments mean."""

from __future__ import annotations

import dataclasses

import pytest

from rtinterp.cli.chosen import check_scale, chosen
from rtinterp.figures import Paper
from rtinterp.papers import PAPERS
from rtinterp.papers.random_transformers import PAPER


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Paper:
    """A second paper, and no third; it has a figure of its own and an experiment of a name that the first one has."""
    figure = dataclasses.replace(PAPER.figures["figure7_width"], name="figure1_depth")
    experiments = dict.fromkeys(("table1", "depth"), PAPER.experiments["figure7"])
    paper = Paper("other", "Another", {figure.name: figure}, experiments, {"quick": PAPER.scales["quick"]})
    for name in set(PAPERS) - {PAPER.name}:
        monkeypatch.delitem(PAPERS, name)
    monkeypatch.setitem(PAPERS, "other", paper)
    return paper


def of(kind: str, *names: str) -> dict[str, list[str]]:
    return {paper.name: parts for paper, parts in chosen(kind, names, lambda paper: getattr(paper, f"{kind}s")).items()}


def test_without_names_everything_is_chosen_paper_by_paper(other: Paper) -> None:
    assert of("figure") == {PAPER.name: list(PAPER.figures), "other": ["figure1_depth"]}
    assert of("experiment") == {PAPER.name: list(PAPER.experiments), "other": ["table1", "depth"]}


def test_a_paper_means_all_of_its_parts_and_a_part_itself_in_the_papers_order(other: Paper) -> None:
    assert of("figure", "other") == {"other": ["figure1_depth"]}
    first = ["figure3_embeddings", "figure2_attention"]
    assert of("figure", "figure1_depth", *reversed(first)) == {PAPER.name: first, "other": ["figure1_depth"]}
    assert of("experiment", PAPER.name, "table1")[PAPER.name] == list(PAPER.experiments)


def test_an_experiment_of_two_papers_is_told_apart_by_its_path(other: Paper) -> None:
    assert of("experiment", "table1") == {PAPER.name: ["table1"], "other": ["table1"]}
    assert of("experiment", "other/table1") == {"other": ["table1"]}


def test_what_is_unknown_is_told_with_what_was_meant(other: Paper) -> None:
    with pytest.raises(ValueError, match=r"unknown figure 'figure1'; did you mean 'figure1_depth'\? known: .*other"):
        of("figure", "figure1")
    with pytest.raises(ValueError, match="unknown experiment 'other/figure7'"):
        of("experiment", "other/figure7")
    check_scale("short", [PAPER])
    with pytest.raises(ValueError, match="unknown scale 'short'; known: quick"):
        check_scale("short", [PAPER, other])
