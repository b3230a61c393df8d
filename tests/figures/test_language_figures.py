"""Figures 4 and 5 and table 5, on a made-up text whose statistics are counted by hand."""

from __future__ import annotations

import dataclasses
import html
import itertools
import math
import re
from collections import Counter

import polars as pl
import pytest
import torch
from corpus_references import made_up_corpus
from sklearn.decomposition import PCA

from rtinterp.analysis import cross_entropy
from rtinterp.figures import NoCorpusError
from rtinterp.models.parameters import POSITIONAL_EMBEDDING, TOKEN_EMBEDDING, UNEMBEDDING
from rtinterp.papers.random_transformers import FIGURES, PAPER, figure5_completions
from rtinterp.store import RunStore
from rtinterp.tasks import Corpus, LanguageModelling
from rtinterp.tasks import corpus as corpus_module
from rtinterp.training.run import Run

FIGURE4, TABLE5, FIGURE5 = (
    FIGURES[name] for name in ("figure4_language_loss", "table5_language_variance", "figure5_completions")
)
ON_LANGUAGE = {"figure4_language_loss", "table5_language_variance", "figure5_completions"}


def test_the_figures_on_language_and_no_others_need_a_corpus() -> None:
    assert {name for name, figure in FIGURES.items() if PAPER.needs_corpus(figure)} == ON_LANGUAGE
    for name, figure in FIGURES.items():
        if name in ON_LANGUAGE:
            with pytest.raises(NoCorpusError, match="pass --corpus PATH"):
                PAPER.specs(figure, "tiny", 1)
        else:
            PAPER.specs(figure, "tiny", 1)


# Figure 4.


def test_figure_4_shows_the_loss_of_every_width_depth_and_seed(runs_of) -> None:
    runs = runs_of("figure4_language_loss")
    table = FIGURE4.compute(runs)
    of_model = {(d, n, t, s) for d in (8, 16) for n in (2, 3) for t in ("embeddings", "all") for s in (0, 1)}
    assert set(table.select("d_model", "n_layers", "trainable", "seed").iter_rows()) == of_model
    for row, run in zip(table.iter_rows(named=True), runs, strict=True):
        assert row["test_loss"] == pytest.approx(cross_entropy(run.model, run.spec.task.test_set()), rel=1e-4)


def test_figure_4_floors_are_those_of_counted_tokens(runs_of, corpus: Corpus) -> None:
    runs = runs_of("figure4_language_loss")
    task, table = runs[0].spec.task, FIGURE4.compute(runs)
    train = [token for text in corpus.train for token in (*task.tokenizer.encode(text).ids, 0)]
    counts, after = Counter(train), Counter(itertools.pairwise(train))
    kinds = Counter(first for first, _ in after)
    followed = Counter(train[:-1])

    def unigram(token: int) -> float:
        return (counts[token] + 1) / (len(train) + 300)

    def bigram(first: int, token: int) -> float:
        n_kinds = max(kinds[first], 1)
        return (after[first, token] + n_kinds * unigram(token)) / (followed[first] + n_kinds)

    pairs = [pair for row in task.test_set().tokens.tolist() for pair in itertools.pairwise(row)]
    expected = {
        "unigram": -sum(math.log(unigram(token)) for _, token in pairs) / len(pairs),
        "bigram": -sum(math.log(bigram(*pair)) for pair in pairs) / len(pairs),
    }
    heights = sorted(shape.y0 for shape in FIGURE4.plot(table).layout.shapes)
    assert heights == pytest.approx(sorted(expected.values()), rel=1e-6)
    for kind, entropy in expected.items():
        assert table[f"{kind}_entropy"].to_list() == pytest.approx([entropy] * len(runs), rel=1e-6)


def test_figure_4_says_which_models_are_worse_than_bigrams(runs_of) -> None:
    table = FIGURE4.compute(runs_of("figure4_language_loss"))
    random = pl.col("trainable") == "embeddings"
    wide = (pl.col("d_model") == 16) & (pl.col("n_layers") == 2)
    losses = pl.when(random).then(5.0).when(wide).then(3.5).otherwise(3.3)
    planted = table.with_columns(test_loss=losses, bigram_entropy=pl.lit(3.4))
    told = "(3.40): random transformer: all 4 models. fully trained: width 16, 2 layers"
    assert f"medians worse than the bigram model {told}" in FIGURE4.plot(planted).layout.title.text
    better = planted.with_columns(test_loss=pl.lit(3.0))
    assert "random transformer: none. fully trained: none" in FIGURE4.plot(better).layout.title.text


def test_figure_4_plots_every_run(runs_of) -> None:
    runs = runs_of("figure4_language_loss")
    figure = FIGURE4.plot(FIGURE4.compute(runs))
    points = [(x, y) for trace in figure.data if trace.mode == "markers" for x, y in zip(trace.x, trace.y, strict=True)]
    assert sorted(points) == sorted((run.spec.model.d_model, run.test_loss) for run in runs)
    in_legend = [trace.name for trace in figure.data if trace.showlegend]
    assert in_legend == [f"{model}, {n} layers" for model in ("random transformer", "fully trained") for n in (2, 3)]


# Figure 5.


def planted_chain(run: Run) -> tuple[Run, dict[int, int]]:
    """The run with embeddings that make one token certain after each that is plain text, and which."""
    task, d_model = run.spec.task, run.spec.model.d_model
    texts = [task.tokenizer.decode([token]) for token in range(task.d_vocab)]
    plain = torch.tensor([token for token, text in enumerate(texts) if text and text.isascii() and text.isprintable()])
    generator = torch.Generator().manual_seed(0)
    following = plain[torch.randperm(len(plain), generator=generator)]
    directions = torch.randn(task.d_vocab, d_model, generator=generator)
    directions = torch.nn.functional.normalize(directions - directions.mean(-1, keepdim=True), dim=-1)
    W_U = torch.zeros(d_model, task.d_vocab)
    W_U[:, following] = 1e4 * directions[plain].T
    planted = {
        TOKEN_EMBEDDING: 1e3 * directions,
        POSITIONAL_EMBEDDING: torch.zeros(task.n_ctx, d_model),
        UNEMBEDDING: W_U,
    }
    chain = dict(zip(plain.tolist(), following.tolist(), strict=True))
    return dataclasses.replace(run, trained={**run.trained, **planted}), chain


def test_figure_5_is_what_the_models_write(runs_of, corpus: Corpus) -> None:
    of_random = next(run for run in runs_of("figure5_completions") if run.spec.trainable == "embeddings")
    run, after = planted_chain(of_random)
    table, tokenizer = FIGURE5.compute([run]), run.spec.task.tokenizer
    stories = [ids for text in corpus.validation if len(ids := tokenizer.encode(text).ids) > 12][:4]
    assert len(table) == 4
    for row, ids in zip(table.iter_rows(named=True), stories, strict=True):
        assert row["prompt"] == tokenizer.decode(ids[:12])
        assert row["story"] == tokenizer.decode(ids[12:60])
        written = [ids[11]]
        for _ in range(48):
            written.append(after[written[-1]])
        assert row["completion"] == re.sub(" +", " ", tokenizer.decode(written[1:]))


def test_figure_5_prompts_are_the_same_for_all_and_draws_repeat(runs_of) -> None:
    runs = runs_of("figure5_completions")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    table = FIGURE5.compute(runs)
    assert torch.equal(torch.get_rng_state(), before)
    assert FIGURE5.compute(runs).equals(table)
    prompts = {tuple(rows["prompt"]) for rows in table.partition_by("trainable", "seed")}
    assert len(prompts) == 1
    assert len({tuple(rows["completion"]) for rows in table.partition_by("trainable", "seed")}) == len(runs) == 4


def test_figure_5_shows_the_first_seed_side_by_side(runs_of) -> None:
    table = FIGURE5.compute(runs_of("figure5_completions"))
    figure = FIGURE5.plot(table)
    prompts, *columns = figure.data[0].cells.values
    shown = ["<br>".join(cells).replace("<br>", " ") for cells in columns]
    for column, (trainable, text) in zip(
        shown, (("embeddings", "completion"), ("all", "completion"), ("all", "story")), strict=True
    ):
        rows = table.filter(pl.col("seed") == 0, pl.col("trainable") == trainable)
        for expected in rows[text]:
            first = html.escape(expected.split("<|endoftext|>")[0], quote=False)
            assert "".join(first.split()) in "".join(column.split())
    assert len(prompts) == 4
    assert "seed 0 (temperature 1, the 40 likeliest tokens)" in figure.layout.title.text


def test_figure_5_ends_where_the_model_ends_and_shows_markup_as_text() -> None:
    wrapped = figure5_completions._wrapped
    assert wrapped("…he <b>said</b> & left.<|endoftext|>Never shown.<|endoftext|>", 80) == (
        "…he &lt;b&gt;said&lt;/b&gt; &amp; left. ∎"
    )
    assert wrapped("<|endoftext|>Never", 80) == " ∎"
    lines = wrapped("one two three " * 20, 30).split("<br>")
    assert max(map(len, lines)) <= 30
    assert " ".join(lines) == ("one two three " * 20).strip()


def test_figure_5_texts_are_one_line_that_csv_and_svg_can_hold(runs_of) -> None:
    task = runs_of("figure5_completions")[0].spec.task
    assert figure5_completions._text(task, task.encode("a\n\nb\r\n  c\x00\x1bd")) == "a b c\ufffd\ufffdd"
    assert figure5_completions._text(task, task.encode("é")[:1]) == "\ufffd", "half a character"
    table = FIGURE5.compute(runs_of("figure5_completions"))
    assert pl.read_csv(table.write_csv().encode()).equals(table)


def test_figure_5_needs_stories_longer_than_a_prompt(runs_of) -> None:
    run = runs_of("figure5_completions")[0]
    short = Corpus(made_up_corpus().train, ("the cat.", "a dog ran.") * 20)
    task = LanguageModelling.from_corpus(short, 300, 16)
    with pytest.raises(ValueError, match="no validation document has more than 12 tokens"):
        FIGURE5.compute([dataclasses.replace(run, spec=dataclasses.replace(run.spec, task=task))])


# Table 5.


def test_table_5_is_pca_of_the_windows_without_their_last_token(runs_of) -> None:
    runs = runs_of("table5_language_variance")
    table = TABLE5.compute(runs)
    sites = ["embedding", "after layer 0", "after layer 1", "after layer 2"]
    assert table["site"].unique(maintain_order=True).to_list() == sites
    run = runs[0]
    tokens = run.spec.task.test_set().tokens
    _, cache = run.model.run_with_cache(tokens)
    rows = table.filter(pl.col("trainable") == run.spec.trainable, pl.col("seed") == run.spec.seed)
    assert set(rows["n_activations"]) == {15 * len(tokens)}
    for site, hook in (("embedding", "blocks.0.hook_resid_pre"), ("after layer 2", "blocks.2.hook_resid_post")):
        activations = cache[hook][:, :-1].flatten(0, 1).double()
        expected = PCA().fit(activations.numpy()).explained_variance_ratio_[:10].sum()
        variances = activations.var(0).sort(descending=True).values
        row = rows.filter(pl.col("site") == site)
        assert row["share_principal_components"].item() == pytest.approx(expected, abs=1e-5)
        assert row["share_coordinates"].item() == pytest.approx(float(variances[:10].sum() / variances.sum()), abs=1e-5)


def test_table_5_shows_medians_over_seeds(runs_of) -> None:
    table = TABLE5.compute(runs_of("table5_language_variance"))
    labels, embedding, *_ = TABLE5.plot(table).data[0].cells.values
    for label, cell in zip(labels, embedding, strict=True):
        trainable = "embeddings" if label.startswith("random") else "all"
        kind = "principal_components" if "principal components" in label else "coordinates"
        rows = table.filter(pl.col("trainable") == trainable, pl.col("site") == "embedding")
        assert cell.startswith(f"{rows[f'share_{kind}'].mean() * 100:.1f}")
    assert len(set(labels)) == 4


# Without the text.


def test_a_stored_language_model_can_be_opened_up_without_its_corpus(
    tiny_store: RunStore, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = PAPER.specs(TABLE5, "tiny", 1, corpus)[0]
    tokens = spec.task.test_set().tokens[:3]
    expected = tiny_store.load(spec.run_id).model(tokens)
    monkeypatch.setattr(corpus_module, "_OPEN", {})
    run = tiny_store.load(spec.run_id)
    assert torch.equal(run.model(tokens), expected)
    assert run.model.cfg.d_vocab == run.initial_model.cfg.d_vocab == 300
    assert run.test_loss > 0
    with pytest.raises(ValueError, match=r"is not open here: call open_corpus\(path\) or pass --corpus PATH"):
        FIGURE5.compute([run])
