"""How good a model is: suites that measure it, alone and beside its base, and what they write into `eval/`."""
