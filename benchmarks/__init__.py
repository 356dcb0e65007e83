"""Measurements of the estimator; `python -m benchmarks --help` lists them."""


class BenchmarkError(ValueError):
    """Something that was asked for is not there; the message says what."""
