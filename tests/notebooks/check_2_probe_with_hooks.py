"""Executed after the last cell of the notebook, on its variables."""

import einops

# Every row has the scores of its own head, and what is left when that head alone is ablated, by another way.
n_layers, n_heads = to_marker.shape
assert ablated.select("layer", "head").rows() == [(layer, head) for layer in range(n_layers) for head in range(n_heads)]
assert ablated["to marker"].to_list() == to_marker.flatten().tolist()
assert ablated["to value"].to_list() == to_value.flatten().tolist()
found = ablated.filter((pl.col("layer") == 1) & (pl.col("head") == 2))
mean = model.run_with_cache(test_set.tokens)[1]["z", 1].mean(0)[:, 2]


def replaced(z, hook):
    z[:, :, 2] = einops.repeat(mean, "pos d_head -> batch pos d_head", batch=len(z))
    return z


with torch.no_grad():
    logits_without = model.run_with_hooks(test_set.tokens, fwd_hooks=[("blocks.1.attn.hook_z", replaced)])
is_right = logits_without[:, :-1].argmax(-1) == test_set.tokens[:, 1:]
assert abs(found["accuracy"][0] - is_right[test_set.scored[:, :-1]].double().mean().item()) < 2e-3
# The head that looks at the value is the one that is missed most.
assert ablated["nats"].arg_max() == to_value.argmax().item() == n_heads * 1 + 2
# What has changed between the prompts stands at position 3 at first, and at the query in the end.
assert restored.shape == (n_layers, clean.shape[1])
assert abs(restored[0, 3].item() - 1) < 1e-3
assert restored[0, :3].abs().max() < 1e-3
assert restored[0, 8].item() < 0.1 < restored[1, 3].item()
