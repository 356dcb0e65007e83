"""What computes: versions and BLAS."""

from __future__ import annotations

import os
import sys

import numpy
import scipy
import sklearn
from threadpoolctl import threadpool_info

import sk_backprop

# What slows numpy's OpenBLAS down where it is set.
_SLOWING = "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"


def versions() -> str:
    """Of Python and what we are built on."""
    modules = (sk_backprop, numpy, scipy, sklearn)
    named = ", ".join(f"{module.__name__} {module.__version__}" for module in modules)
    return f"python {sys.version.split()[0]}, {named}"


def blas() -> list[str]:
    """Each BLAS that is loaded, with its kernel and threads."""
    return sorted(
        {
            f"{lib['internal_api']} {lib['version']}, "
            f"kernel {lib.get('architecture', 'unknown')}, threads: {lib['num_threads']}"
            for lib in threadpool_info()
            if lib["user_api"] == "blas"
        }
    )


def environment() -> str:
    """All of it, a line each."""
    return "\n".join([versions(), *blas()])


def slowed() -> str:
    """A note about settings of OpenBLAS that spoil a measurement of time, or ''."""
    found = [name for name in _SLOWING if name in os.environ]
    if not found:
        return ""
    return f"Note: {' and '.join(found)} slow numpy down; unset them to measure time."
