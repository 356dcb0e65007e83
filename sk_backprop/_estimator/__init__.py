"""What scikit-learn's users see: parameters, checks, predictions, warnings, fitted state."""
