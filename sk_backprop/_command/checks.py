"""Checks of arguments that need neither scikit-learn nor the table, and are made first."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec

from sk_backprop._command.terminal import CommandError


def check_arguments(job: str, args: argparse.Namespace) -> None:
    """CommandError if the arguments of a job cannot be carried out.

    job : its name; args : its arguments
    """
    _check_numbers(args)
    if job in ("predict", "formula"):
        _check_input(args.model)
    if job == "predict":
        _check_input(args.file)
        if args.output != "-":
            _check_output(args.output)
            if os.path.realpath(args.output) == os.path.realpath(args.file):
                raise CommandError(f"-o {args.output}: that is the table itself; name another file")
    if job == "fit":
        _check_model_name(args.output)
    if job == "report":
        _check_output(args.output)
        if not args.output.lower().endswith((".html", ".htm")):
            raise CommandError(f"-o {args.output}: the name of a report ends in .html")
        if find_spec("matplotlib") is None:
            raise CommandError("a report needs: python -m pip install matplotlib")
        if len(set(args.target)) > 1:
            raise CommandError("a report is on one --target; write one report for each")


def _check_numbers(args: argparse.Namespace) -> None:
    if not 0 <= getattr(args, "seed", 0) < 2**32:
        raise CommandError(f"--seed must be from 0 to {2**32 - 1}, not {args.seed}")
    if not 0 < getattr(args, "coverage", 0.5) < 1:
        raise CommandError(f"--coverage must be between 0 and 1, such as 0.95, not {args.coverage}")
    units = getattr(args, "units", None)
    if units is not None and not 0 <= units <= 1000:
        raise CommandError(f"--units must be from 0 to 1000, not {units}")
    if getattr(args, "folds", 2) < 2:
        raise CommandError(f"--folds must be at least 2, not {args.folds}")
    if getattr(args, "decimal", None) and args.decimal == args.thousands:
        raise CommandError("--decimal and --thousands must differ")


def _check_input(path: str) -> None:
    if path != "-" and "://" not in path and not os.path.exists(path):
        raise CommandError(f"cannot read {path}: No such file or directory")


def _check_output(path: str) -> None:
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise CommandError(f"-o {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise CommandError(f"-o {path}: that is a folder; name a file in it")


def _check_model_name(path: str) -> None:
    _check_output(path)
    if not path.endswith((".joblib", ".skops")):
        raise CommandError(f"-o {path}: the name of a model ends in .joblib or .skops")
    if path.endswith(".skops") and find_spec("skops") is None:
        raise CommandError("a .skops file needs: python -m pip install skops")


def check_folds(n_folds: int, n_rows: int) -> None:
    """CommandError unless every fold has two rows, which R2 needs."""
    if n_folds > n_rows // 2:
        raise CommandError(f"--folds must be from 2 to {n_rows // 2} for these data, not {n_folds}")
