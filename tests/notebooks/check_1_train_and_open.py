"""Executed after the last cell of the notebook, on its variables."""

query_row = patterns.filter((pl.col("query_pos") == 8) & (pl.col("weight") > 0.5))
assert query_row.select("layer", "head", "key_label").rows() == [(1, 2, "2")]
(value_row,) = (
    patterns.filter((pl.col("layer") == 0) & (pl.col("head") == 1) & (pl.col("query_label") == "2"))
    .sort("weight", descending=True)[:1]
    .rows(named=True)
)
assert value_row["key_label"] == "b"
assert changed == ["embed.W_E", "pos_embed.W_pos", "unembed.W_U"]
assert run.test_accuracy > 0.98
# The store's rule and the notebook's own measure agree.
assert abs(accuracy(run.model, task.test_set()) - run.test_accuracy) < 1e-6
by_model = shares.group_by("model", maintain_order=True).agg(pl.col("share_principal_components").last())
(_, share_before), (_, share_after) = by_model.rows()
assert share_after > share_before + 0.1, by_model
assert len(shares) == 2 * (run.spec.model.n_layers + 1)
