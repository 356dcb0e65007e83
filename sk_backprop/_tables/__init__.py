"""Columns of tables: their kinds, and the numbers that stand for them."""
