"""The network: layers of units, activations, likelihoods, and averages of several networks."""
