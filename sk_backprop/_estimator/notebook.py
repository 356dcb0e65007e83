"""Estimators in notebooks and in help(): documentation where users look for it.

In a notebook, it stands next to the name of each parameter and attribute. scikit-learn (1.9) shows
a parameter's or attribute's documentation only where it has a page on the web to link to. This
package documents them only in the docstring: the tables are rendered with a link, which is then
removed.
"""

from __future__ import annotations

import re
from types import FunctionType
from typing import Any, TypeVar

from sklearn.base import BaseEstimator

T = TypeVar("T", bound=type)


class ParameterTooltips(BaseEstimator):
    """An estimator whose parameters and attributes have tooltips, and no links."""

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        return _with_tooltips(super()._get_params_html(*args, **kwargs))

    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        return _with_tooltips(super()._get_fitted_attr_html(*args, **kwargs))


def _with_tooltips(table: Any) -> Any:
    """`table` with tooltips, if this scikit-learn has any; older ones have no `doc_link`."""
    render = getattr(table, "_html_repr", None)
    if render is not None and hasattr(table, "doc_link"):
        table.doc_link = "docstring"
        table._html_repr = lambda: re.sub(r'\s(?:rel|target|href)="[^"]*"', "", render())
    return table


def shown_in_regressor(cls: T) -> T:
    """Class decorator: errors and help() show the methods under the class that users know."""
    for method in vars(cls).values():
        method = getattr(method, "method", method)
        if isinstance(method, FunctionType):
            method.__qualname__ = f"BackpropRegressor.{method.__name__}"
            method.__module__ = "sk_backprop._estimator.regressor"
    return cls
