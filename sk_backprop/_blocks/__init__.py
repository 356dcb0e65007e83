"""Blocks of rows: arrays, sums that do not depend on the number of threads, linear algebra."""
