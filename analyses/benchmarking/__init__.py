# ruff: noqa: E501
"""How fast rtinterp trains a random transformer, against the ways others do it.

What was tried, on two x86-64 CPU cores; times are of a whole step. The rows on bfloat16 and stacks are from
``benchmark.py --quick``; the others were measured once, by switching one idea off at a time on a noisy machine, and no
command repeats them. Take them as hints.

| idea | expected | found | kept |
|---|---|---|---|
| each distinct token at a position once through the first norm and QKV | 15 % less at needle(30), width 512 | 0 to 25 % less: the machine varied as much | yes |
| no keys and values where few positions are scored | 15 % less there | 0 to 20 % less; modular addition slower | from a clear gain |
| sort by prefix before, not after, a batch is cut into chunks | fewer rows in stacks | no clear difference | yes |
| plain attention below 5 positions | less overhead | a third of the fused kernel's time at head width 4, even at 32 | yes |
| bfloat16 blocks | half the time | 0.5 to 0.65 of it for needle, little below width 128, slower at 16 | option |
| stacks of as many models as fill the caches, not all seeds | equal | per seed, one is about as fast as four from width 256 (measured once) | yes |
| frozen float32 products as 1x1 convolutions (oneDNN) | products 1.2 to 1.4 times as fast when alone, so 15 % less | 7 to 9 % less from width 512 (14 paired turns), 11 % more at 256: every new number of rows is compiled anew | from width 512 |
| two processes of one thread instead of one of two | up to 2 times the steps of one thread | alone, a step of modular addition takes 190 ms on one thread and 107 on two at width 512, 25 and 15 at 128: two processes take 1.13 and 1.19 times as many steps | yes: `make figures`, `--workers` |
| freed memory kept (mallopt, rtinterp/training/allocation.py) | 5 % less: a step of needle(30) at width 512 had 25,000 to 80,000 page faults | 2 to 6 % less in 4 pairs; with the next row 9 % (3 pairs) | yes |
| rows in multiples of 64, so that few convolutions are compiled; none below 1024 rows | 10 % less | alone, 20 ms instead of 50 for a product of 2000 rows of new number; of a step 0 to 8 %; modular addition at width 512 on one thread 8 % less without any | yes |
| torch.compile of norm, MLP and residual | fused gelu | 0.8 to 1.4 of the time, half a minute to compile | no |
"""
