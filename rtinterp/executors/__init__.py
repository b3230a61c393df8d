"""Handing stacks of runs to other processes and machines, through joblib (loky, Dask, Ray) and submitit (Slurm).

A worker gets the specs of one stack as JSON, trains them in a process of its own into the same run store, and says in
JSON how that went; what is trained and what is not, the store alone knows. The composition of stacks does not depend on
who trains them, so neither does what is stored. On a CPU the number of threads of the training process does decide the
last bits of some results: equal bits need equal threads (``OMP_NUM_THREADS``), and equal library versions, everywhere.

Assumed of the store, where workers are on several machines: it is one folder under one path, on a file system where
renaming a folder is atomic and what one machine wrote is seen by the others within a minute (NFS, Lustre, GPFS and
BeeGFS do that; a folder that is merely synchronised does not); the machines' clocks agree within seconds, for time
limits; and the same version of rtinterp and its libraries is installed everywhere. Locks are files with heartbeats; no
``flock`` is needed.

This module imports nothing, since every worker imports it.
"""
