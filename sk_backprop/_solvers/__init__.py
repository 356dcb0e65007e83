"""One algorithm per file. Each takes an objective and a start, and returns a
`SolverResult`; none sees X, raises a warning, or knows of the estimator.
"""
