"""Executed after the last cell of the notebook, on its variables."""

from rtinterp.analysis import activations_at, incompleteness, means_by_role, replace_by_role

# One ablation by another way: the head's own output replaced, by role, by its mean over the same training sequences.
tokens = torch.cat([batch.tokens for batch in training])
z = activations_at(model, tokens, "blocks.1.attn.hook_z")
means = means_by_role(z, task.roles(tokens), len(task.role_names))
by_hand = replace_by_role("blocks.1.attn.hook_z", means, task.roles, heads=(2,))
with intervene(model, by_hand):
    assert abs(accuracy(model, test_set[:100]) - without_one["L1H2"]) < 0.011
# No single node is necessary, all together are, and what they do is shared out without remainder.
assert min(without_one.values()) > 0.9
assert intact > 0.98
assert none < 0.1
assert abs(shapley.sum().item() - (intact - none)) < 1e-6
assert shapley.argmax() == retrieval
# The other heads of the layer stand in for the retrieval head; the marker head works with it.
assert all(interactions[retrieval, nodes.index((1, head))] < 0 for head in (0, 1, 3))
assert interactions[retrieval].argmax() == nodes.index((0, 1))
# The smallest circuits are four nodes, the two heads and the MLP of layer 0 among them; all have the retrieval head.
found_nodes = [{nodes[i] for i in nodes_in(circuit)} for circuit in circuits]
smallest = [circuit for circuit in found_nodes if len(circuit) == len(found_nodes[0])]
assert len(smallest[0]) == 4
assert len(smallest) > 1
assert all({(0, 1), (0, None), (1, 2)} <= circuit for circuit in smallest)
assert all((1, 2) in circuit for circuit in found_nodes)
assert any((0, 1) not in circuit for circuit in found_nodes)
assert all(values[circuit] >= 0.95 * intact for circuit in circuits)
assert incompleteness(values, circuits[0]) > 0.5, "the model has other ways than the circuit"
# Forty directions suffice, and are necessary; random ones, or ten, are not enough.
at_rank = {row["rank"]: row for row in curve.iter_rows(named=True)}
assert at_rank[40]["keep the first k"] > 0.99 > 0.2 > at_rank[10]["keep the first k"]
assert at_rank[40]["keep k random ones"] < 0.25
assert at_rank[40]["take the first k out"] < 0.15
assert abs(variance_share(statistics.covariance, principal.first(10)) - 0.73) < 0.02
assert abs(kept["only the 40"] - at_rank[40]["keep the first k"]) < 0.01
# They hold the queried value: swapped, the answer is the other's; nothing else, and no random direction, does that.
moved_by = dict(
    zip(swapped, [interchange_accuracy(model, pairs, site, subspace) for subspace in swapped.values()], strict=True)
)
assert min(moved_by["all 384 directions"], moved_by["the 40"]) > 0.99
assert max(moved_by["all but the 40"], moved_by["40 random ones"]) < 0.05
moved_at = [(row["site"], row["swapped at"]) for row in rows if row["answer of the other"] > 0.1]
assert moved_at == [(site, "value"), ("blocks.1.hook_resid_mid", "query")]
