"""What the paper claims, and by which rules our rows decide whether it holds."""

from __future__ import annotations

import polars as pl

from rtinterp.figures.claims import Claim
from rtinterp.figures.verdicts import MIN_SEEDS
from rtinterp.papers.random_transformers import claim_evidence as evidence
from rtinterp.papers.random_transformers import claim_rules as rules
from rtinterp.papers.random_transformers import published
from rtinterp.papers.random_transformers.claim_evidence import SHARE, of_widths

PERCENT = "{:.1f}\N{NO-BREAK SPACE}%"
WIDE, NARROW = published.PAPER_WIDTHS["wide"], published.PAPER_WIDTHS["narrow"]
#: Claims about all of the algorithmic tasks need runs of each.
TASKS = ("modular addition", "needle in a haystack", "decimal addition", "parenthesis balancing")
SOLVED, MOST = (f"{100 * share:.0f} %" for share in (rules.SOLVED, rules.MOST))
SEEDS = f"there are at least {MIN_SEEDS} seeds"
CLAIMS = (
    Claim(
        "Transformers of which only the embeddings are trained solve modular addition, needle in a haystack, decimal "
        "addition and parenthesis balancing.",
        "table1_accuracy",
        "Test accuracy of wide random transformers",
        evidence.accuracy_of_random("wide"),
        PERCENT,
        f"on each task the 95 % interval lies above {SOLVED} and above the best heuristic, and {SEEDS}",
        rules.each(rules.is_solved, TASKS),
        of_widths(WIDE),
    ),
    Claim(
        "They have to be wide for it.",
        "table1_accuracy",
        "Test accuracy of narrow random transformers",
        evidence.accuracy_of_random("narrow"),
        PERCENT,
        f"on each task the 95 % interval lies below {SOLVED} or below the best heuristic, and {SEEDS}",
        rules.each(rules.is_unsolved, TASKS),
        of_widths(NARROW),
    ),
    Claim(
        "Fewer embeddings do not do: the unembedding alone fails on all four tasks, the input embeddings alone on "
        "modular addition, token embedding and unembedding on decimal addition.",
        "table2_subsets",
        "Test accuracy of wide random transformers of which fewer embeddings are trained",
        evidence.some_embeddings,
        PERCENT,
        f"the 95 % interval of each lies below {SOLVED} or below the best heuristic, and {SEEDS}",
        rules.each(rules.is_unsolved, [name for *_, name in evidence.failing_subsets()]),
        of_widths(WIDE),
    ),
    Claim(
        "On needle in a haystack, a head of layer 0 links each value to its marker, and one of layer 1 "
        "finds the queried value.",
        "figure2_attention",
        "Mean attention weight",
        evidence.heads,
        "{:.2f}",
        f"in every seed both heads' mean weights are above {rules.HEAD_WEIGHT} after training, and all above all of "
        f"those before, and {SEEDS}",
        rules.heads,
        of_widths(WIDE),
    ),
    Claim(
        "The embeddings learnt for modular addition lie on circles.",
        "figure3_embeddings",
        "Share of the variance of two principal components that a circle explains (R²)",
        evidence.best_circle,
        "{:.2f}",
        f"in every seed the best circle explains more than {MOST} of two components' variance, and {SEEDS}",
        rules.each(rules.is_most, ["best circle of each seed"]),
        of_widths(WIDE),
    ),
    Claim(
        "A random transformer adds modulo p like a clock, not like a pizza.",
        "figure3_embeddings",
        "Measures of the trained model",
        evidence.circuit_measures,
        "{:.2f}",
        "in every seed both measures are nearer to a clock's (symmetricity .33, irrelevance .85) than to a pizza's "
        f"(.99, .17), and {SEEDS}",
        rules.each(rules.is_clock, [column.replace("_", " ") for column in rules.HALF_WAY]),
        of_widths(WIDE),
    ),
    Claim(
        "Random transformers that solve an algorithmic task work in few directions of the residual stream.",
        "table4_explained_variance",
        "Variance in ten principal components after the last layer of wide random transformers",
        evidence.last_layer(SHARE),
        PERCENT,
        f"on each task ten components hold more than {MOST} in every seed, accuracy is above guessing, and {SEEDS}",
        rules.each(rules.if_learnt(100 * rules.MOST), TASKS),
        of_widths(WIDE),
    ),
    Claim(
        "Training selects these directions: the stream is more concentrated than before it (subspace selection).",
        "table4_explained_variance",
        "Percentage points that training adds to the variance in ten principal components after the last layer",
        evidence.selected,
        "{:+.1f}",
        f"on each task the share has grown in every seed, accuracy is above guessing, and {SEEDS}",
        rules.each(rules.if_learnt(0), TASKS),
        of_widths(WIDE),
    ),
    Claim(
        "When they memorize, random transformers are more concentrated than fully trained ones.",
        "table4_explained_variance",
        "Variance in ten principal components after the last layer",
        evidence.concentration(evidence.MEMORIZATION),
        PERCENT,
        f"every fully trained model's share is below every random one's, and {SEEDS}",
        rules.normal_below_random("more concentrated"),
        of_widths(published.MEMORIZATION_WIDTH),
    ),
    Claim(
        "As language models, random transformers are more concentrated than fully trained ones.",
        "table5_language_variance",
        "Variance in ten principal components after the last layer",
        evidence.concentration(pl.lit(True)),
        PERCENT,
        f"every fully trained model's share is below every random one's, and {SEEDS}",
        rules.normal_below_random("more concentrated"),
        of_widths(published.LANGUAGE_WIDTH),
    ),
    Claim(
        "Where nothing but memory helps, a random transformer stores several times fewer bits in each parameter that "
        "trains.",
        "table3_memorization",
        "Bits per trainable parameter",
        evidence.bits,
        "{:.2f}",
        f"{rules.SEVERAL} times the bits of every random transformer are fewer than every fully trained one's, and "
        f"{SEEDS}",
        rules.random_below_normal("fewer bits", rules.SEVERAL),
        of_widths(published.MEMORIZATION_WIDTH),
    ),
    Claim(
        "Random transformers imitate wide random circuits worse than narrow ones, and worse than fully trained "
        "transformers do.",
        "figure6_imitation",
        "KL divergence from the target, in nats",
        evidence.imitation,
        "{:.3f}",
        "every random student of the widest target diverges more than every one of the narrowest, and more than every "
        f"fully trained student of the widest, and {SEEDS}",
        rules.imitation,
        of_widths(published.STUDENT_WIDTH),
    ),
    Claim(
        "As language models, random transformers are behind fully trained ones of their width.",
        "figure4_language_loss",
        "Test loss of the widest models, in nats per token",
        evidence.language,
        "{:.2f}",
        f"every fully trained model's loss is below every random one's, and {SEEDS}",
        rules.normal_below_random("behind"),
        of_widths(published.LANGUAGE_WIDTH),
    ),
)
