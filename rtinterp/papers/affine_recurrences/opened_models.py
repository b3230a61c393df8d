"""What all analyses of the opened models share, and what all captions say."""

#: Test sequences that are measured on.
N_ROWS = 1000
#: From which position on predictions are compared: three terms determine the next.
FIRST_POSITION = 2
#: What every caption says.
OUR_DESIGN = (
    " Of the paper only the abstract is public: law of the sequences, sizes, budgets and measures are our design."
)
