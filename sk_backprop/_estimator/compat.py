"""Names that scikit-learn has from version 1.9 on."""


class _NoCallbacks:
    """Takes the place of CallbackSupportMixin under scikit-learn 1.7 and 1.8."""


try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupport
    from sklearn.callback import with_callbacks
except ImportError:
    CallbackSupport, with_callbacks = _NoCallbacks, None

__all__ = ["CallbackSupport", "with_callbacks"]
