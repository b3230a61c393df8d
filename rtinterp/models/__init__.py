"""GPT-2 style decoders: their parameters, their initial values, which of them train, and two ways to run them."""
