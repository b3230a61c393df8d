"""S4D's stack of diagonal state-space layers: its spec, its stacked forward pass, its model with hook points."""
