"""What figures/README.md says of subspaces, ranks and transplants, held against the shipped tables."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl

from rtinterp.figures import style
from rtinterp.papers.mechanism import FIGURES as FIGURES_BY_NAME
from rtinterp.papers.mechanism.figure_rank_dial import least_sufficient_rank
from rtinterp.papers.mechanism.figure_replacements import AFTER_FIRST, EMBEDDING, N_EVALUATIONS
from rtinterp.papers.mechanism.figure_warm_starts import steps_needed
from rtinterp.papers.mechanism.interchange_measurements import AFTER_LAST, ANSWER, SEARCH

FIGURES = Path(__file__).parents[2] / "figures"


def table(name: str) -> pl.DataFrame:
    return pl.read_csv(FIGURES / "mechanism" / "data" / f"{name}.csv", infer_schema_length=None)


def finding(beginning: str) -> str:
    """One item of the list, on one line."""
    text = (FIGURES / "README.md").read_text(encoding="utf-8")
    (found,) = [item for item in text.split("\n- ")[1:] if item.startswith(f"*{beginning}")]
    return " ".join(found.partition("\n\n")[0].split())


def percents(rows: pl.DataFrame) -> str:
    low, high = (100 * value for value in (min(rows["accuracy"]), max(rows["accuracy"])))
    return f"{style.ends(f'{low:.1f}', f'{high:.1f}')} %"


def test_transplants() -> None:
    shipped, said = table("figure_transplants"), finding("Bodies share a geometry")

    def of(task: str, embeddings: str, treatment: str) -> str:
        chosen = (pl.col("embeddings") == embeddings) & (pl.col("treatment") == treatment)
        return percents(shipped.filter(pl.col("task").str.starts_with(task) & chosen))

    needle, decimal, modular = "Needle", "Decimal", "Modular"
    of_another = (of(needle, "another", "rotated"), of(decimal, "another", "rotated"))
    assert "reach {} on needle and {} on decimal addition (3 seeds)".format(*of_another) in said
    assert f"rotated alike, {of(needle, 'untrained', 'rotated')} and {of(decimal, 'untrained', 'rotated')}." in said
    assert f"they reach {of(needle, 'another', 'raw')} and {of(decimal, 'another', 'raw')}." in said
    assert f"no rotation helps: {of(modular, 'another', 'rotated')}." in said
    assert shipped["seed"].n_unique() == 3


def test_interchange() -> None:
    shipped, said = table("figure_interchange"), finding("Few directions hold a variable")
    assert shipped.group_by("task", "trainable").agg(pl.col("seed").n_unique())["seed"].to_list() == [3] * 8
    two_answers = pl.col("task").str.starts_with("Parenthesis")

    def switched(trainable: str, bases: list[str], rank: int | None = None) -> list[float]:
        """At the end, in per cent, of tasks with many answers."""
        at_end = (pl.col("site") == AFTER_LAST) & (pl.col("place") == ANSWER) & (pl.col("trainable") == trainable)
        rows = shipped.filter(at_end & ~two_answers & pl.col("basis").is_in(bases))
        return (100 * (rows if rank is None else rows.filter(pl.col("rank") == rank))["accuracy"]).to_list()

    def extremes(trainable: str) -> list[str]:
        fitted, random = (
            switched(trainable, bases, 32) for bases in (["learned", "principal", "sensitive"], ["random"])
        )
        seen, unseen = (switched(trainable, [part]) for part in ("seen", "unseen"))
        return [f"{value:.0f} %" for value in (min(fitted), max(random), min(seen), max(unseen))]

    fitted, random, seen, unseen = extremes("embeddings")
    assert f"switches {fitted} or more" in said
    assert f"random ones switch {random} or less" in said
    assert f"reads switches {seen} or more, the other part {unseen} or less" in said
    assert "it is {}, {}, {} and {}.".format(*extremes("all")) in said
    placebo, untrained = (
        shipped.filter(two_answers & (pl.col("basis") == basis) & (pl.col("trainable") == "embeddings"))["accuracy"]
        for basis in ("placebo", "untrained")
    )
    assert f"shuffled answers finds {100 * max(placebo.to_list()):.0f} %" in said
    assert f"untrained model {100 * max(untrained.to_list()):.0f} %" in said
    search = f"{SEARCH['n_steps']} steps of {SEARCH['pairs_per_step']} pairs"
    assert f"All these searches, the controls' too, took {search}: what they find are lower bounds." in said


def test_replacements() -> None:
    shipped, said = table("figure_replacements"), finding("A head's need hinges on what replaces it")
    assert shipped.group_by("task", "trainable").agg(pl.col("seed").n_unique())["seed"].to_list() == [3] * 8
    random = shipped.filter(pl.col("trainable") == "embeddings")
    needle, modular = (random.filter(pl.col("task").str.starts_with(name)) for name in ("Needle", "Modular"))
    heads = needle.filter(pl.col("item").str.contains(r"^L\d+H"))
    costs = [
        f"{100 * max(of['intact'] - of['accuracy']):.0f} %"
        for of in (heads.filter(replacement=name) for name in ("zero", "mean", "resample"))
    ]
    assert "more than {} if it writes zero, or {} if it writes its mean".format(*costs) in said
    assert f"costs up to {costs[2]}." in said
    assert f"{costs[0]} at most" in FIGURES_BY_NAME["figure_replacements"].caption
    assert f"costs up to {costs[2]};" in FIGURES_BY_NAME["figure_replacements"].caption

    def left(of: pl.DataFrame, site: str, item: str) -> str:
        rows = of.filter(site=site, item=item)["accuracy"]
        assert len(rows) == 9
        return f"{style.ends(f'{100 * min(rows):.0f}', f'{100 * max(rows):.0f}')} %"

    assert f"all markers are replaced, {left(needle, EMBEDDING, 'marker')} are left" in said
    assert f"{left(needle, AFTER_FIRST, 'marker')}, and {left(needle, AFTER_FIRST, 'value')} if it is values" in said
    assert f"first summand {left(modular, EMBEDDING, 'a')} are left at the embedding" in said
    assert f"and {left(modular, AFTER_FIRST, 'a')} after layer 0" in said


def test_optimal_constants() -> None:
    shipped, said = table("figure_replacements"), finding("A mean misleads where a head is needed")
    random = shipped.filter(pl.col("trainable") == "embeddings", pl.col("item").str.starts_with("L"))
    modular, decimal, needle = (
        random.filter(pl.col("task").str.starts_with(name)) for name in ("Modular", "Decimal", "Needle")
    )
    of_heads = modular.filter(pl.col("item").str.starts_with("L0H"))

    def losses(rows: pl.DataFrame, replacement: str) -> list[float]:
        return rows.filter(replacement=replacement)["cross_entropy"].sort().to_list()

    mean, optimal = losses(of_heads, "mean"), losses(of_heads, "optimal")
    assert len(mean) == len(optimal) == 12
    guessing = math.log(79)
    assert f"leaves a loss of {mean[0]:.1f} to {mean[-1]:.1f} nats" in said
    assert f"worse than guessing ({guessing:.1f})" in said
    assert mean[0] > guessing
    assert f"least harm leave {optimal[0]:.1f} to {optimal[-1]:.1f}." in said
    assert abs(optimal[len(optimal) // 2] - guessing) < 0.5
    worst = [losses(rows, name)[-1] for rows in (decimal, needle) for name in ("optimal", "mean")]
    assert "more than {:.1f} nats, where means leave up to {:.1f}.".format(*worst[:2]) in said
    assert "up to {:.1f} nats, and {:.1f} with means".format(*worst[2:]) in said
    assert "15 evaluations" in said
    assert N_EVALUATIONS == 15


def test_references() -> None:
    shipped, said = table("table_references"), finding("What replaces changes numbers")
    caption = FIGURES_BY_NAME["table_references"].caption
    assert shipped.group_by("task", "reference").agg(pl.col("seed").n_unique())["seed"].to_list() == [3] * 16
    means = pl.col("reference").is_in(["mean", "mean by role"])
    resampled = pl.col("reference") == "resample by role"

    def spread(task: str, column: str, of: pl.Expr) -> str:
        values = shipped.filter(pl.col("task").str.starts_with(task), of)[column].drop_nulls().sort()
        return style.ends(str(values[0]), str(values[-1]))

    most = [shipped.filter(of)["k95"].max() for of in (resampled, means)]
    assert (
        "at most {} principal directions suffice in any seed and site, where means need up to {}".format(*most) in said
    )
    assert "at most {} if the rest is resampled and {} if it is a mean".format(*most) in caption
    at_embedding = (pl.col("site") == "blocks.0.hook_resid_pre") & (pl.col("reference") == "zero")
    zero = shipped.filter(at_embedding, pl.col("task").str.contains("Addition"))["k95"]
    assert f"calls for {zero.min()} or more at the embedding" in said
    last = pl.col("site") == "blocks.1.hook_resid_post"
    gone = [spread("Needle", "gone", last & of) for of in (pl.col("reference") == "mean", resampled)]
    assert "when {} directions are a mean, {} if they are".format(*gone) in said
    by_role = pl.col("reference") == "mean by role"
    needle, parentheses, decimal = (
        [spread(task, "smallest", of) for of in (resampled, by_role)] for task in ("Needle", "Parenthesis", "Decimal")
    )
    assert f"have {needle[0]} nodes on needle and {parentheses[0]} on parentheses" in said
    assert (
        f"leave {needle[1]} and {parentheses[1]}; on decimal addition {decimal[0]}, where means leave {decimal[1]}"
        in said
    )
    assert f"from {needle[1]} nodes to {needle[0]}, and those of parentheses from {parentheses[1]} to all 10" in caption
    assert set(shipped["n_disjoint"].drop_nulls()) == {1}


def test_warm_starts() -> None:
    shipped, said = table("figure_warm_starts"), finding("A head start needs the right rotation")
    caption = FIGURES_BY_NAME["figure_warm_starts"].caption
    needed = steps_needed(shipped)
    assert shipped["task"].n_unique() == 1
    assert set(needed["seed"]) == {0, 1, 2}

    def steps(start: str) -> list[int]:
        return needed.filter(start=start)["step"].drop_nulls().sort().to_list()

    def told(start: str) -> str:
        assert len(steps(start)) == 3
        return f"{steps(start)[0]} to {steps(start)[-1]}"

    assert f"reach 95 % after {told('drawn')} steps" in said
    assert f"as they are after {told('another')}, no sooner" in said
    assert steps("another") > steps("drawn")
    assert f"that it was trained to, {told('rotated')}." in said
    assert f"saves less, {told('drawn, rotated')}, and" in said
    assert "one of three gets there in 600 steps" in said
    assert (len(steps("shuffled")), shipped["n_steps"].max()) == (1, 600)
    assert f"yes, {told('rotated')} steps instead of {told('drawn')}." in caption
    assert 0.4 < steps("drawn, rotated")[1] / steps("drawn")[1] < 0.6
    assert steps("shuffled")[0] > steps("drawn")[-1]


def test_rank_dial() -> None:
    shipped, said = table("figure_rank_dial"), finding("What is used is not what is needed")
    caption = FIGURES_BY_NAME["figure_rank_dial"].caption
    n_seeds = shipped.group_by("task", "restricted", "rank").agg(pl.col("seed").n_unique())["seed"]
    assert set(n_seeds) == {3}
    of_task = {name: shipped.filter(pl.col("task").str.starts_with(name)) for name in ("Dec", "Par", "Mod", "Nee")}

    def at(task: str, rank: int, restricted: str = "all embeddings") -> str:
        return percents(of_task[task].filter(restricted=restricted, rank=rank))

    def k95(task: str) -> list[int]:
        return of_task[task]["k95_embedding"].drop_nulls().unique().sort().to_list()

    least = {task: least_sufficient_rank(rows, "all embeddings") for task, rows in of_task.items()}
    assert least == {"Dec": 4, "Par": 2, "Mod": None, "Nee": None}
    assert f"of rank 4 reaches {at('Dec', 4)}, of rank 2 {at('Dec', 2)};" in said
    assert f"it takes {k95('Dec')[0]} principal directions to keep 95 %" in said
    assert len(k95("Dec")) == 1
    assert f"Parentheses reach {at('Par', 2)} with rank 2" in said
    assert f"it takes {k95('Par')[0]} to {k95('Par')[-1]} directions, and {at('Par', 1)} with rank 1" in said
    alone = [at("Dec", 2, name) for name in ("W_U", "W_E", "W_pos")]
    assert "it leaves decimal addition {}, where W_E leaves {} and W_pos {}.".format(*alone) in said
    given = [at("Dec", 64, f"all embeddings, {name}") for name in ("random directions", "directions read most")]
    assert "in 64 random ones decimal addition reaches {}, in the 64 that the body reads most {}".format(*given) in said
    assert f"reads least {at('Dec', 64, 'all embeddings, directions read least')}." in said
    assert "{} at 4, {} at 8 and {} at 16".format(*(at("Mod", rank) for rank in (4, 8, 16))) in said
    needle = of_task["Nee"].filter(pl.col("rank").is_in([8, 16]))
    assert f"at ranks 8 and 16 stays at {percents(needle)}, below its best heuristic" in said
    assert (needle["accuracy"] < needle["heuristic_accuracy"]).all()
    assert f"only 4 (2) to use, these do what unrestricted training spreads over {k95('Dec')[0]}" in caption
    enough = 0.95 * 0.99
    in_given = of_task["Dec"].filter(pl.col("rank") == 64)["accuracy"]
    assert in_given.median() < enough  # pyright: ignore[reportOperatorIssue]
