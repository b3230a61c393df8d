"""Which sequences are kept out of the training stream.

Two rules. At the paper's parameters the test set is the official list, and membership is looked up. At any other
size a sequence belongs to the test set if its hash says so, which keeps training and test distributions alike even
where the task has only a few hundred distinct sequences.
"""
