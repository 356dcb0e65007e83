"""Measurements of the estimator; `python -m benchmarks --help` lists them."""
