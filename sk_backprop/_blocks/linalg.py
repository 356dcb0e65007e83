"""Products, factorisations and inverses that take most of the time of a fit.

`scipy.linalg.blas` and `scipy.linalg.lapack` hold the interpreter's lock, so threads would wait for
each other. The same routines are called here through scipy's interfaces for Cython
(`scipy.linalg.cython_blas`), whose integers are C's `int` whichever BLAS scipy was built with;
ctypes releases the lock.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import blas, cython_blas, cython_lapack, lapack

from sk_backprop._blocks.arrays import Array

# {name: number of arguments}
_BLAS, _LAPACK = {"dsyrk": 10, "dtrmm": 11}, {"dpotrf": 5, "dtrtri": 6}


@cache
def _routine(name: str) -> Any:
    """A routine of scipy's interfaces for Cython, whose arguments are addresses.

    It is made when it is first needed: the four of them take 0.3 ms.
    """
    module, n_arguments = (
        (cython_blas, _BLAS[name]) if name in _BLAS else (cython_lapack, _LAPACK[name])
    )
    capsule = ctypes.py_object(module.__pyx_capi__[name])
    symbol = ("PyCapsule_GetName", ctypes.pythonapi)
    signature = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(symbol)(capsule)
    symbol = ("PyCapsule_GetPointer", ctypes.pythonapi)
    address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(symbol)
    arguments = [ctypes.c_void_p] * n_arguments
    return ctypes.CFUNCTYPE(None, *arguments)(address(capsule, signature))


# Minimum number of multiply-adds for a call that lets other threads run meanwhile: 0.3 ms of work.
# Such a call takes 0.005 ms more than scipy's.
_LEAST_UNLOCKED = 1e7


def _double(value: float) -> Any:
    return ctypes.byref(ctypes.c_double(value))


def _int(value: int) -> Any:
    return ctypes.byref(ctypes.c_int(value))


_MINUS_ONE, _ZERO, _ONE = _double(-1), _double(0), _double(1)


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
    n, k = _int(n_columns), _int(n_rows)
    # To BLAS, for which columns are contiguous, rows_t is an (n_rows, n_columns) array.
    A, C = rows_t.ctypes.data, out.ctypes.data
    _routine("dsyrk")(b"L", b"T", n, k, _ONE, A, k, _ONE if add else _ZERO, C, n)


def factorise(A: Array) -> bool:
    """Replace the lower triangle of a symmetric matrix by its Cholesky factor.

    Parameters
    ----------
    A : (n, n) of float64, Fortran-contiguous, overwritten; only the lower triangle is used

    Returns
    -------
    bool : whether A is positive definite; otherwise its lower triangle has no meaning
    """
    if not (A.flags.f_contiguous and A.dtype == np.float64 and A.shape[0] == A.shape[1]):
        raise ValueError(f"A {A.shape} is not as described.")
    if len(A) ** 3 / 3 < _LEAST_UNLOCKED:
        return not lapack.dpotrf(A, lower=1, clean=0, overwrite_a=1)[1]
    n, info = _int(len(A)), ctypes.c_int()
    _routine("dpotrf")(b"L", n, A.ctypes.data, n, ctypes.byref(info))
    return not info.value


# Order up to which dtrtri inverts a triangle at once. For orders of 121, 391 and 621 it takes 0.12,
# 1.81 and 4.16 ms, and inversion by halves 0.06, 0.75 and 2.49 (one thread, OpenBLAS 0.3.31).
_DIRECT_INVERSE = 64


def invert_triangle(L: Array) -> None:
    """Replace a lower triangular matrix, zero above the diagonal, by its inverse.

    Parameters
    ----------
    L : (n, n) of float64 without zeros on the diagonal, Fortran-contiguous, overwritten
    """
    if not (L.flags.f_contiguous and L.dtype == np.float64 and L.shape[0] == L.shape[1]):
        raise ValueError(f"L {L.shape} is not as described.")
    _invert_block(L.ctypes.data, len(L), len(L))


def _invert_block(address: int, n: int, stride: int) -> None:
    """Invert the lower triangular block of order n at an address.

    By halves: the inverse of [[A, 0], [B, C]] is [[A^-1, 0], [-C^-1 B A^-1, C^-1]].

    Parameters
    ----------
    address : int, of the first element
    n : int
    stride : int, elements from one column to the next
    """
    ld = _int(stride)
    if n <= _DIRECT_INVERSE:
        _routine("dtrtri")(b"L", b"N", _int(n), address, ld, _int(0))
        return
    half = n // 2
    B, C = address + 8 * half, address + 8 * half * (stride + 1)
    _invert_block(address, half, stride)
    _invert_block(C, n - half, stride)
    m, k = _int(n - half), _int(half)
    _routine("dtrmm")(b"R", b"L", b"N", b"N", m, k, _ONE, address, ld, B, ld)
    _routine("dtrmm")(b"L", b"L", b"N", b"N", m, k, _MINUS_ONE, C, ld, B, ld)
