"""From a checked table to fitted networks: what to train, the runs, and the selection."""
