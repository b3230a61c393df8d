"""What the figures and tables of all papers share: what they are, how they look, and how a folder of them is drawn."""

from rtinterp.figures.figure import Figure
from rtinterp.figures.paper import NoCorpusError, Paper

__all__ = ["Figure", "NoCorpusError", "Paper"]
