"""From data to a posterior: the objective, evidence, Laplace's approximation, predictions."""
