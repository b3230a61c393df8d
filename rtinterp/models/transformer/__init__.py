"""The GPT-2 style decoder: its spec, its stacked forward pass, its model with hook points."""
