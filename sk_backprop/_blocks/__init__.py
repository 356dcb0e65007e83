"""Blocks of rows: arrays, reproducible sums, linear algebra, threads, and engines elsewhere."""
