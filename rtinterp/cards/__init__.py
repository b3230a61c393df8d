"""What a notebook shows of a run, a store, a task or a batch: small plain HTML, legible on dark and on light.

Every text is escaped here; what is called markup is not, and comes from these functions alone.
"""

from rtinterp.cards.curve import curve
from rtinterp.cards.parts import Token, card, code, facts, percent, sequences, table, text

__all__ = ["Token", "card", "code", "curve", "facts", "percent", "sequences", "table", "text"]
