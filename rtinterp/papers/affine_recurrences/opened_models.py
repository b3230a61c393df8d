"""What all analyses of the opened models share."""

#: Test sequences that are measured on.
N_ROWS = 1000
#: From which position on predictions are compared: three terms determine the next.
FIRST_POSITION = 2
