"""Executed after the last cell of the notebook, on its variables."""

from rtinterp.analysis.ablations import head_writes

# The stored loss is of all positions and test sequences; the notebook's own of some.
everything = task.test_set()
assert abs(squared_errors(model(everything.tokens), everything.targets).mean().item() - run.test_loss) < 1e-5
assert of_copying / of_model > 200
assert torch.allclose(predicted[3:8], torch.tensor(terms[4:9]), atol=0.04)
assert not torch.allclose(predicted[:2], torch.tensor(terms[1:3]), atol=0.1)
by_layer = lens.filter(lens["layer"] == 0)
r2 = dict(by_layer.select("predictor", "r2").rows())
assert 0.9 < r2["x_t, x_t-1"] < 0.95
assert r2["least squares"] > r2["x_t, x_t-1"] - 0.03
at = {(layer, head): row for layer, head, *row in heads.rows()}
assert at[0, 1][2] == heads["previous_weight"].max() > 0.5
assert at[2, 2][0] == heads["similarity_correlation"].min() > -0.5
assert at[2, 0][1] == heads["gain"].min() < -0.2
assert 0.1 < at[2, 0][0] < 0.2
# The same mean, of what heads write one by one.
assert without["layer 2"] > of_copying > 200 * without["nothing"]
assert without["layer 2"] > 500 * without["nothing"]
assert without["layer 0"] > 10 * of_copying


def summed(activation, hook):
    writes = head_writes(model, 2, cache["blocks.2.attn.hook_z"]).sum(2) + model.b_O[2]
    return writes.mean(0).expand_as(activation)


hooks = [("blocks.2.hook_attn_out", summed), ("blocks.2.hook_mlp_out", mean_instead)]
assert abs(error(model.run_with_hooks(now, fwd_hooks=hooks)) - without["layer 2"]) < 1e-4
carries = {part: (of_a, of_b) for part, of_a, of_b in carried.rows()}
assert min(carries["L0 MLP"]) > 0.5
assert carries["L0H1"][1] > 0.3 > 0.05 > abs(carries["L0H1"][0])
assert all(max(ways) < 0.05 for part, ways in carries.items() if not part.startswith("L0"))
assert all(max(carries[f"L2H{head}"]) < 0 for head in range(4))
