"""Sparse tables whose index arrays contradict their shape.

scipy checks the indices when it builds a matrix, not when it uses one. If they were changed
later, or loaded from a damaged file, its compiled routines read and write beyond
the arrays, which ends the process or gives wrong numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp


def check_structure(X: Any, name: str) -> None:
    """Raise ValueError if X is sparse and its arrays contradict each other or its shape.

    One pass over the indices; nothing is copied, and X is left as it is.
    """
    fault = _FAULTS[X.format](X) if sp.issparse(X) and X.format in _FAULTS else ""
    if fault:
        raise ValueError(
            f"{name} is a sparse {X.format.upper()} matrix of shape {X.shape} whose {fault}. Its "
            "arrays have been changed or damaged: build it again from the original data, for "
            f"example by scipy.sparse.coo_matrix((values, (rows, columns)), shape={X.shape})."
        )


def _compressed(X: Any) -> str:
    """The fault of a CSR, CSC or BSR matrix, or ''."""
    n_rows, n_columns = X.shape
    if X.format == "bsr":
        block_rows, block_columns = X.data.shape[1:] if X.data.ndim == 3 else (0, 0)
        if not block_rows or not block_columns or n_rows % block_rows or n_columns % block_columns:
            return f"data has shape {X.data.shape}: such blocks do not fill the matrix"
        n_rows, n_columns = n_rows // block_rows, n_columns // block_columns
    n_major, n_minor = (n_columns, n_rows) if X.format == "csc" else (n_rows, n_columns)
    fault = _not_integers(indptr=X.indptr, indices=X.indices)
    if fault:
        return fault
    if len(X.indptr) != n_major + 1:
        return f"indptr has {len(X.indptr)} values instead of {n_major + 1}"
    if len(X.indices) != len(X.data):
        return f"indices has {len(X.indices)} values and data has {len(X.data)}"
    # Compared, not subtracted: a difference of unsigned integers is never negative.
    if X.indptr[0] != 0 or np.any(X.indptr[1:] < X.indptr[:-1]):
        return "indptr does not begin at 0 or decreases somewhere"
    n_stored = int(X.indptr[-1])
    if n_stored > len(X.indices):
        return f"indptr ends at {n_stored}, beyond the {len(X.indices)} values of indices"
    return _out_of_range("indices", X.indices[:n_stored], n_minor)


def _coordinates(X: Any) -> str:
    """The fault of a COO matrix, or ''."""
    coords = getattr(X, "coords", None) or (X.row, X.col)  # `coords` came with scipy 1.13
    names = ["row", "col"] if len(coords) == 2 else [f"coords[{k}]" for k in range(len(coords))]
    fault = _not_integers(**dict(zip(names, coords)))
    for name, index, size in zip(names, coords, X.shape):
        if not fault and len(index) != len(X.data):
            fault = f"{name} has {len(index)} values and data has {len(X.data)}"
        fault = fault or _out_of_range(name, index, size)
    return fault


def _diagonals(X: Any) -> str:
    """The fault of a DIA matrix, or ''."""
    if X.data.ndim != 2 or X.offsets.shape != X.data.shape[:1]:
        return f"offsets has shape {X.offsets.shape} and data has shape {X.data.shape}"
    return _not_integers(offsets=X.offsets)


def _lists(X: Any) -> str:
    """The fault of a LIL matrix, or ''."""
    if not len(X.rows) == len(X.data) == X.shape[0]:
        return f"rows and data have {len(X.rows)} and {len(X.data)} lists"
    for number, (columns, values) in enumerate(zip(X.rows, X.data)):
        if len(columns) != len(values):
            return f"rows[{number}] has {len(columns)} values and data[{number}] has {len(values)}"
        fault = _out_of_range(f"rows[{number}]", np.asarray(columns, dtype=int), X.shape[1])
        if fault:
            return fault
    return ""


def _not_integers(**arrays: Any) -> str:
    for name, array in arrays.items():
        if array.ndim != 1 or array.dtype.kind not in "iu":
            return f"{name} is not a one-dimensional array of integers"
    return ""


def _out_of_range(name: str, index: Any, size: int) -> str:
    """The fault of an index array, or '' if it has no values outside 0 to size - 1."""
    if not len(index):
        return ""
    low, high = int(index.min()), int(index.max())
    if low >= 0 and high < size:
        return ""
    return f"{name} has the value {low if low < 0 else high}, outside 0 to {size - 1}"


_FAULTS = {
    "csr": _compressed,
    "csc": _compressed,
    "bsr": _compressed,
    "coo": _coordinates,
    "dia": _diagonals,
    "lil": _lists,
}  # DOK is checked by scipy when it is converted
