"""Others that do the same work, for `python -m benchmarks speed`.

`work` says what is to be done, and has ours and MLPRegressor; `frameworks` has PyTorch,
skorch and JAX; `programs` those that train on all rows at once until they are content, R's
nnet and pyrenn. Whatever is not scikit-learn is imported, or started, when it is needed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec

from benchmarks.peers import frameworks, programs, work
from benchmarks.peers.work import Train, Work


@dataclass(frozen=True)
class Peer:
    """Whom ours is compared with, and what it needs.

    label : as in tables and pictures
    modules : {module that must be there: distribution whose version is told}
    r_package : name of a package of R that must be there
    """

    label: str
    modules: Mapping[str, str] = field(default_factory=dict)
    r_package: str = ""

    def obstacle(self) -> str:
        """Why it does not run here, or ''."""
        for module in self.modules:
            if find_spec(module) is None:
                return f"{module} is not installed"
        if self.r_package and not shutil.which("Rscript"):
            return "Rscript is not installed"
        if self.r_package and not _r_versions(self.r_package):
            return f"R has no package {self.r_package}"
        return ""

    def versions(self) -> Iterator[str]:
        """Names and versions of what it needs."""
        for distribution in self.modules.values():
            yield f"{distribution} {version(distribution)}"
        if self.r_package:
            yield _r_versions(self.r_package)


@cache
def _r_versions(package: str) -> str:
    """Versions of R and one of its packages, '' where that is not installed."""
    script = f'cat("R ", format(getRversion()), ", {package} ", sep="");'
    script += f'cat(format(packageVersion("{package}")))'
    told = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=False)
    return told.stdout if told.returncode == 0 else ""


_TORCH = {"torch": "torch"}

PEERS = {
    "mlp": Peer("MLPRegressor"),
    "mlp_scaled": Peer("MLPRegressor, scaled"),
    "torch": Peer("PyTorch, plain loop", _TORCH),
    "torch_fused": Peer("PyTorch, fused Adam", _TORCH),
    "skorch": Peer("skorch", {"skorch": "skorch", **_TORCH}),
    "jax": Peer("JAX, lax.scan", {"jax": "jax"}),
    "nnet": Peer("R nnet", r_package="nnet"),
    "pyrenn": Peer("pyrenn", {"pyrenn": "pyrenn"}),
    "dgemm": Peer("dgemm"),
    "dsyrk": Peer("J.T @ J"),
}

# Training by mini-batches; each takes a `Work` and returns what does it.
MINI_BATCH: dict[str, Callable[[Work], Train]] = {
    "ours": work.ours,
    "mlp": work.mlp,
    "torch": frameworks.torch_plain,
    "torch_fused": frameworks.torch_fused,
    "skorch": frameworks.skorch,
    "jax": frameworks.jax,
}

# Training on all rows at once; each takes X, y, hidden units and a seed, and returns
# seconds and the mean squared error of the training rows that it ended at.
FULL_BATCH: dict[str, programs.FullBatch] = {
    "mlp": programs.mlp_lbfgs,
    "nnet": programs.nnet,
    "pyrenn": programs.pyrenn,
}
