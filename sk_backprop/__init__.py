"""sk_backprop."""

from sk_backprop._regressor import BackpropRegressor

__all__ = ["BackpropRegressor"]
__version__ = "0.1.0"
