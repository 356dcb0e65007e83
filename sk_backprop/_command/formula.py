"""`formula`: a stored model as a formula."""

from __future__ import annotations

import sys

import sk_backprop
from sk_backprop._command.stored import StoredModel
from sk_backprop._command.terminal import CommandError, say, wrapped


def formula(stored: StoredModel, syntax: str) -> None:
    """Print the fitted function as a formula; what its inputs are goes to stderr.

    stored : StoredModel; syntax : 'python', 'c' or 'excel'
    """
    inputs, names = _formula_inputs(stored), None
    numbered = [f"x{j}" for j in range(len(inputs))]
    if syntax != "excel" and not hasattr(stored.model, "feature_names_in_"):
        names = numbered
    try:
        try:
            written = sk_backprop.export.to_expression(stored.model, syntax, input_names=names)
        except ValueError as error:
            if "Pass input_names" not in str(error):
                raise
            names = numbered
            written = sk_backprop.export.to_expression(stored.model, syntax, input_names=names)
    except ValueError as error:
        message = " ".join(str(error).split())
        if "longer than" in message:
            message = "the model is too large for a formula; fit again with --units 3, say"
        raise CommandError(message) from error
    if names is not None:
        pairs = [f"{name} is {one}" for name, one in zip(names, inputs)]
        print(wrapped("; ".join(pairs), "", "  "), file=sys.stderr)
    if syntax == "excel":
        order = f"A2, B2 and so on are, in this order: {', '.join(inputs)}"
        print(wrapped(order, "", "  "), file=sys.stderr)
    for text in [written] if isinstance(written, str) else written:
        say(text)


def _formula_inputs(stored: StoredModel) -> list[str]:
    """Names of the inputs of a formula: columns of the table, or what encodes them."""
    columns = [recipe.name for recipe in stored.columns]
    encoded = [str(name) for name in getattr(stored.model, "encoded_feature_names_", ())]
    return encoded if len(encoded) > len(columns) else columns
