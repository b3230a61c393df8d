"""Draw every figure and table, training what they need: `python analyses/make_figures.py --help`."""

import sys

from rtinterp.cli import call

if __name__ == "__main__":
    sys.exit(call("figures"))
