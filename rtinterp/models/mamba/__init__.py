"""Mamba's stack of selective state-space layers: its spec, its stacked forward pass, its model with hook points."""
