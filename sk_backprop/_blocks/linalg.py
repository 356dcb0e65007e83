"""Products and inverses that take most of the time of a fit.

`scipy.linalg.blas` holds the interpreter's lock, so blocks of rows would wait for each other. The
same dsyrk is called here through scipy's interface for Cython (`scipy.linalg.cython_blas`),
whose integers are C's `int` whichever BLAS scipy was built with; ctypes releases the lock.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from scipy.linalg import blas, cython_blas, lapack

from sk_backprop._blocks.arrays import Array


def _routine(name: str, n_arguments: int) -> Any:
    """A routine of `scipy.linalg.cython_blas`, whose arguments are addresses."""
    capsule = ctypes.py_object(cython_blas.__pyx_capi__[name])
    symbol = ("PyCapsule_GetName", ctypes.pythonapi)
    signature = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(symbol)(capsule)
    symbol = ("PyCapsule_GetPointer", ctypes.pythonapi)
    address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(symbol)
    arguments = [ctypes.c_void_p] * n_arguments
    return ctypes.CFUNCTYPE(None, *arguments)(address(capsule, signature))


# Minimum n_rows * n_columns^2 for a call that lets other threads run meanwhile: 0.3 ms of work.
# Such a call takes 0.005 ms more than scipy's.
_LEAST_UNLOCKED = 1e7

_dsyrk = _routine("dsyrk", 10)
_ZERO, _ONE = ctypes.byref(ctypes.c_double(0)), ctypes.byref(ctypes.c_double(1))


def gram(rows_t: Array, out: Array, *, add: bool) -> None:
    """Compute the lower triangle of rows_t @ rows_t.T, in place of that of `out` or added to it.

    Parameters
    ----------
    rows_t : (n_columns, n_rows) of float64, C-contiguous
    out : (n_columns, n_columns) of float64, Fortran-contiguous
    add : whether to add to `out`
    """
    n_columns, n_rows = rows_t.shape
    if not (
        out.shape == (n_columns, n_columns)
        and rows_t.dtype == out.dtype == np.float64
        and rows_t.flags.c_contiguous
        and out.flags.f_contiguous
    ):  # BLAS would write elsewhere
        raise ValueError(f"rows_t {rows_t.shape} and out {out.shape} are not as described.")
    if n_columns**2 * n_rows < _LEAST_UNLOCKED:
        blas.dsyrk(1.0, rows_t.T, float(add), out, trans=1, lower=1, overwrite_c=1)
        return
    n, k = ctypes.byref(ctypes.c_int(n_columns)), ctypes.byref(ctypes.c_int(n_rows))
    # To BLAS, for which columns are contiguous, rows_t is an (n_rows, n_columns) array.
    A, C = rows_t.ctypes.data, out.ctypes.data
    _dsyrk(b"L", b"T", n, k, _ONE, A, k, _ONE if add else _ZERO, C, n)


# Order up to which dtrtri inverts a triangle at once. For orders of 121, 391 and 621 it takes 0.12,
# 1.81 and 4.16 ms, and inversion by halves 0.06, 0.75 and 2.49 (one thread, OpenBLAS 0.3.31).
_DIRECT_INVERSE = 64


def invert_triangle(L: Array) -> None:
    """Replace a lower triangular matrix, zero above the diagonal, by its inverse.

    By halves: the inverse of [[A, 0], [B, C]] is [[A^-1, 0], [-C^-1 B A^-1, C^-1]].

    Parameters
    ----------
    L : (n, n) of float64 without zeros on the diagonal, overwritten
    """
    half = len(L) // 2
    if len(L) <= _DIRECT_INVERSE:
        L[...] = lapack.dtrtri(L, lower=1)[0]
        return
    A, B, C = L[:half, :half], L[half:, :half], L[half:, half:]
    invert_triangle(A)
    invert_triangle(C)
    BA = blas.dtrmm(1.0, A, B, side=1, lower=1)
    B[...] = blas.dtrmm(-1.0, C, BA, lower=1, overwrite_b=1)
