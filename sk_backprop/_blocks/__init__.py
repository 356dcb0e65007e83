"""Rows by blocks: arrays, sums that do not depend on who computes which part, and threads."""
