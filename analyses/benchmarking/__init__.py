"""How fast rtinterp trains a random transformer, against the ways others do it."""
