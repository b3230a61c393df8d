"""Figure 5: what language models write."""

from __future__ import annotations

import functools
import html
import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Int64
from torch import Tensor

from rtinterp.analysis import complete
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, task_of, with_run_columns
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.random_transformers.grid import RANDOM_AND_NORMAL
from rtinterp.tasks import LanguageModelling
from rtinterp.tasks.corpus import END_OF_TEXT
from rtinterp.training.run import Run

N_PROMPTS = 4
PROMPT_TOKENS = 12
NEW_TOKENS = 48
TEMPERATURE = 1.0
TOP_K = 40
SAMPLING_SEED = 0

#: Of the drawing: relative widths of its columns, and characters that fit on a line of them.
COLUMN_WIDTHS = (1.0, 1.7, 1.7, 1.7)
PROMPT_CHARACTERS = 23
LINE_CHARACTERS = 41
END_MARK = " ∎"


class Prompt(NamedTuple):
    """The first tokens of a held-out story, and those that follow in the story."""

    given: Int64[Tensor, " prompt_pos"]
    rest: Int64[Tensor, " pos"]


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run and prompt: prompt, completion, and how the story goes on; texts are on one line each.

    Tokens are drawn one at a time among the ``top_k`` likeliest, at ``temperature``, with the same generator for every
    model.

    Raises:
        ValueError: the corpus is not open, or no held-out story is longer than a prompt.
    """
    tasks = [task_of(run, LanguageModelling) for run in runs]
    prompts = {task: _prompts(task) for task in dict.fromkeys(tasks)}
    return pl.concat(
        with_run_columns(run, _completions(run, task, prompts[task])) for run, task in zip(runs, tasks, strict=True)
    )


def _prompts(task: LanguageModelling) -> list[Prompt]:
    prompts = []
    for story in task.corpus.validation:
        tokens = task.encode(story)
        if len(tokens) > PROMPT_TOKENS:
            prompts.append(Prompt(tokens[:PROMPT_TOKENS], tokens[PROMPT_TOKENS : PROMPT_TOKENS + NEW_TOKENS]))
        if len(prompts) == N_PROMPTS:
            break
    if not prompts:
        raise ValueError(f"no validation document has more than {PROMPT_TOKENS} tokens; use a corpus of longer ones")
    return prompts


def _completions(run: Run, task: LanguageModelling, prompts: list[Prompt]) -> pl.DataFrame:
    tokens = complete(
        run.model,
        torch.stack([prompt.given for prompt in prompts]),
        NEW_TOKENS,
        temperature=TEMPERATURE,
        top_k=TOP_K,
        generator=torch.Generator().manual_seed(SAMPLING_SEED),
        max_context=task.context_length - 1,
    )
    return pl.DataFrame(
        {
            "prompt": [_text(task, prompt.given) for prompt in prompts],
            "completion": [_text(task, row[PROMPT_TOKENS:]) for row in tokens],
            "story": [_text(task, prompt.rest) for prompt in prompts],
        }
    ).with_columns(temperature=pl.lit(TEMPERATURE), top_k=pl.lit(TOP_K))


def _text(task: LanguageModelling, tokens: Int64[Tensor, " pos"]) -> str:
    """On one line, and without characters that neither csv nor SVG can hold."""
    line = re.sub(r"\s+", " ", task.decode(tokens))
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


def plot(table: pl.DataFrame) -> go.Figure:
    first = table.filter(pl.col("seed") == table["seed"].min())
    random, normal = (first.filter(pl.col("trainable") == trainable) for trainable in RANDOM_AND_NORMAL)
    continuations = zip(random["completion"], normal["completion"], random["story"], strict=True)
    rows = [
        [_wrapped(f"{prompt}…", PROMPT_CHARACTERS), *(_wrapped(f"…{text}", LINE_CHARACTERS) for text in texts)]
        for prompt, texts in zip(random["prompt"], continuations, strict=True)
    ]
    header = ["held-out prompt", *(regime_name(t) for t in RANDOM_AND_NORMAL), "the story itself"]
    figure = style.table_figure(header, rows, list(COLUMN_WIDTHS))
    sampling = f"temperature {first['temperature'][0]:g}, the {first['top_k'][0]} likeliest tokens"
    title = f"Figure 5: completions of seed {first['seed'][0]} ({sampling})"
    return style.finish_table(figure, title, table, width=1080)


def _wrapped(text: str, n_characters: int) -> str:
    """A cell in lines of so many characters; a text ends where the model ends it."""
    text, *after = text.split(END_OF_TEXT)
    lines = textwrap.wrap(text + (END_MARK if after else ""), n_characters) or [""]
    return "<br>".join(map(functools.partial(html.escape, quote=False), lines))


FIGURE = Figure(
    name="figure5_completions",
    title="Figure 5: completions",
    caption=(
        f"Random and fully trained language models go on from the first {PROMPT_TOKENS} tokens of held-out stories, "
        f"for {NEW_TOKENS} tokens each; {END_MARK.strip()} marks an end that the model wrote. Nothing was selected: "
        "these are the first stories of the validation split, the first seed and one draw, with the same generator for "
        "both models. The table in the csv file has every seed."
    ),
    experiment="table5",
    compute=compute,
    plot=plot,
)
