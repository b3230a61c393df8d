"""Planted truths that several tests know."""

from __future__ import annotations

#: Next-token probabilities of a model that looks at nothing; the last token is impossible in practice.
PLANTED = [0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.05, 0.03, 0.02, 0.01, 1e-30]
