"""Executed after the last cell of the notebook, on its variables."""

assert all(run.test_accuracy > 0.95 for run in runs)
assert elsewhere.splitlines()[0] == repr(runs[0])
assert abs(float(elsewhere.splitlines()[1]) - runs[0].test_accuracy) < 1e-6
assert best_head(to_place).score > 0.35 > 2 * to_place.median().item()
# The letter is where the notebook looks for it.
places = test_set.tokens[:, number] - task.n_letters
assert torch.equal(test_set.tokens.gather(1, places[:, None]).squeeze(1), test_set.scored_targets)
assert sorted(store.find(task="look_up", n_places=5)) == sorted(run.run_id for run in runs)
