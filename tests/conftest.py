"""Every test runs its models on one thread: they are tiny, and threads that wait for each other cost more."""

import torch

torch.set_num_threads(1)
