"""Which parts have to be trained, after "Is Random Attention Sufficient for Sequence Modeling?".

Dong, Noci, Khodak and Li (arXiv 2506.01115) freeze queries and keys, the MLPs, or put fixed random patterns in the
place of attention (MixiT); the random transformer, of which only the embeddings train, lies on the same axis. Here all
have one body, GPT-2's, but for MixiT, and what the paper shows of two heads is tested causally.

- ``regimes``: the models that are compared; ``budgets`` and ``scales``: tasks, sizes and trainings.
- ``grid``: which runs each experiment needs.
- ``published``: the paper's own numbers.
- ``textbook_heads``, ``pair_effects``: the two heads of retrieval, and what they do beside others.
- ``figure_*``, ``table_*``: a module for each figure or table.
"""

from rtinterp.figures.paper import Paper
from rtinterp.papers.random_attention import (
    figure_depth,
    figure_hops,
    figure_retrieval_circuits,
    figure_retrieval_heads,
    figure_retrieval_patterns,
    table_language,
    table_lattice,
    table_regimes,
)
from rtinterp.papers.random_attention.grid import EXPERIMENTS, ON_LANGUAGE
from rtinterp.papers.random_attention.scales import SCALES

_MODULES = (
    table_regimes,
    table_lattice,
    figure_hops,
    figure_retrieval_heads,
    figure_retrieval_patterns,
    figure_retrieval_circuits,
    figure_depth,
    table_language,
)
FIGURES = {module.FIGURE.name: module.FIGURE for module in _MODULES}

PAPER = Paper(
    name="random_attention",
    title="Is Random Attention Sufficient for Sequence Modeling?",
    figures=FIGURES,
    experiments=EXPERIMENTS,
    scales=SCALES,
    on_language=ON_LANGUAGE,
)
