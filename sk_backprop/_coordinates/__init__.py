"""Units and scales: coordinates that train well, and the maps of weights between them."""
