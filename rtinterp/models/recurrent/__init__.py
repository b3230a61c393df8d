"""The stack of LSTM or RNN layers: its spec, its stacked forward pass, its model with hook points."""
