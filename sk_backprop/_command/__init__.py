"""`python -m sk_backprop`: compare, fit, predict, formula and report, on a table in a file."""
