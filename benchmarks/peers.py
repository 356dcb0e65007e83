"""The same training by mini-batches: ours, MLPRegressor's, PyTorch's and JAX's.

All minimise, for a batch of b rows and without biases in the penalty::

    1 / (2 b) sum_i (f(x_i) - y_i)^2  +  penalty / 2 sum_l ||W_l||^2

Ours divides `alpha` by the weight of all rows, MLPRegressor by the rows of the batch: alpha is
penalty n for the one and penalty b for the other. (A last batch that is shorter sees a little
more penalty in MLPRegressor.) PyTorch's weight decay adds penalty * W to the gradient, which is
what the penalty's gradient is; its linear layers hold weights as (n_out, n_in).

PyTorch and JAX are imported when they are needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from sklearn.neural_network import MLPRegressor

from benchmarks.problems import Array
from sk_backprop import BackpropRegressor

Weights: TypeAlias = tuple[list[Array], list[Array]]  # coefs (n_in, n_out), intercepts
Train: TypeAlias = Callable[[], Weights]  # trains from the start at every call


@dataclass(frozen=True)
class Work:
    """One training by mini-batches; all of `n_epochs` are made.

    Attributes
    ----------
    X, y : (n_samples, n_features), (n_samples,), of one dtype
        Columns and target of mean 0 and spread 1, as whoever does not scale them wants.
    activation : {'logistic', 'tanh'}
    precondition : bool, of BackpropRegressor
        True is what its users have: a network of sigmoids is trained as one of tanh,
        which is the same family of functions. It goes another way through it.
    start : coefs and intercepts to start from, for raw X; None draws them from `seed`
    """

    X: Array
    y: Array
    hidden: tuple[int, ...]
    n_epochs: int
    solver: str = "adam"
    batch_size: int = 200
    rate: float = 1e-3
    penalty: float = 1e-6
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    activation: str = "logistic"
    shuffle: bool = True
    seed: int = 0
    precondition: bool = True
    start: Weights | None = None

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Units before and after each layer of weights."""
        return list(pairwise((self.X.shape[1], *self.hidden, 1)))


def _shared(work: Work) -> dict[str, Any]:
    """Parameters that BackpropRegressor and MLPRegressor have in common."""
    return {
        "hidden_layer_sizes": work.hidden,
        "activation": work.activation,
        "solver": work.solver,
        "batch_size": work.batch_size,
        "learning_rate_init": work.rate,
        "momentum": work.momentum,
        "beta_1": work.betas[0],
        "beta_2": work.betas[1],
        "epsilon": work.epsilon,
        "max_iter": work.n_epochs,
        "tol": 0.0,
        "n_iter_no_change": sys.maxsize,
        "shuffle": work.shuffle,
        "random_state": work.seed,
    }


def _ours(work: Work) -> Train:
    alpha = work.penalty * len(work.y)
    model = BackpropRegressor(alpha=alpha, precondition=work.precondition, **_shared(work))
    start = {}
    if work.start is not None:
        (first, *rest), intercepts = work.start  # coefs_ are for X / max
        largest = np.abs(work.X).max(axis=0)[:, None]
        start = {"coefs_init": [first * largest, *rest], "intercepts_init": intercepts}

    def train() -> Weights:
        model.fit(work.X, work.y, **start)
        return model.raw_coefs_, model.raw_intercepts_

    return train


def _mlp(work: Work) -> Train:
    warm_start = work.start is not None
    alpha = work.penalty * work.batch_size
    model = MLPRegressor(alpha=alpha, warm_start=warm_start, **_shared(work))
    if warm_start:  # it takes weights only as those of a fit before
        model.set_params(max_iter=1).fit(work.X, work.y).set_params(max_iter=work.n_epochs)

    def train() -> Weights:
        if work.start is not None:
            model.coefs_, model.intercepts_ = ([a.copy() for a in part] for part in work.start)
        model.fit(work.X, work.y)
        return model.coefs_, model.intercepts_

    return train


def _torch(work: Work, fused: bool = False) -> Train:
    """Adam in a loop over mini-batches, as tutorials have it; it sums the losses as ours does."""
    import torch

    torch.set_num_threads(1)
    X, y = torch.from_numpy(work.X), torch.from_numpy(work.y[:, None])
    function = {"logistic": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}[work.activation]
    options = {"lr": work.rate, "betas": work.betas, "eps": work.epsilon, "fused": fused}

    def train() -> Weights:
        torch.manual_seed(work.seed)
        layers = [torch.nn.Linear(*sizes, dtype=y.dtype) for sizes in work.sizes]
        for k, layer in enumerate(layers if work.start else ()):
            layer.weight.data = torch.from_numpy(work.start[0][k].T.copy())
            layer.bias.data = torch.from_numpy(work.start[1][k].copy())
        model = torch.nn.Sequential(*(part for layer in layers for part in (layer, function())))[
            :-1
        ]
        weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
        groups = [{"params": weights, "weight_decay": work.penalty}, {"params": biases}]
        optimizer = torch.optim.Adam(groups, **options)
        for _ in range(work.n_epochs):
            epoch_loss = 0.0
            order = torch.randperm(len(y)) if work.shuffle else None
            for start in range(0, len(y), work.batch_size):
                rows = slice(start, start + work.batch_size)
                rows = rows if order is None else order[rows]
                inputs, targets = X[rows], y[rows]
                loss = 0.5 * torch.nn.functional.mse_loss(model(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                epoch_loss += loss.item() * len(targets)
        return [W.detach().numpy().T for W in weights], [b.detach().numpy() for b in biases]

    return train


def _jax(work: Work) -> Train:
    """Adam, with an epoch in one `lax.scan` over its mini-batches; compiled beforehand."""
    # XLA reads these once, when it is first used.
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ.setdefault("XLA_FLAGS", flags)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)  # float32 stays float32
    X, y = jnp.asarray(work.X), jnp.asarray(work.y)
    function = {"logistic": jax.nn.sigmoid, "tanh": jnp.tanh}[work.activation]
    (beta_1, beta_2), each = work.betas, jax.tree.map

    def loss(theta: Any, rows: Any) -> Any:
        coefs, intercepts = theta
        h = X[rows]
        for W, b in zip(coefs[:-1], intercepts[:-1]):
            h = function(h @ W + b)
        residual = (h @ coefs[-1] + intercepts[-1])[:, 0] - y[rows]
        penalty = sum(jnp.vdot(W, W) for W in coefs)
        return 0.5 * jnp.mean(residual**2) + 0.5 * work.penalty * penalty

    def step(state: Any, rows: Any) -> Any:  # as in `sk_backprop._solvers.stochastic`
        theta, m, v, t = state
        value, grad = jax.value_and_grad(loss)(theta, rows)
        power = (t := t + 1).astype(y.dtype)
        rate = work.rate * jnp.sqrt(1 - beta_2**power) / (1 - beta_1**power)
        m = each(lambda m, g: beta_1 * m + (1 - beta_1) * g, m, grad)
        v = each(lambda v, g: beta_2 * v + (1 - beta_2) * g * g, v, grad)
        moved = each(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + work.epsilon), theta, m, v)
        return (moved, m, v, t), value

    one_step, epoch = jax.jit(step), jax.jit(partial(jax.lax.scan, step))
    n_whole = len(y) // work.batch_size * work.batch_size
    order = np.random.RandomState(work.seed)

    def run(n_epochs: int) -> Weights:
        theta = each(jnp.asarray, work.start or _glorot(work))
        zeros = each(jnp.zeros_like, theta)
        state = theta, zeros, zeros, jnp.zeros((), jnp.int32)
        for _ in range(n_epochs):
            rows = order.permutation(len(y)) if work.shuffle else np.arange(len(y))
            state, _losses = epoch(state, rows[:n_whole].reshape(-1, work.batch_size))
            if n_whole < len(y):
                state, _loss = one_step(state, rows[n_whole:])
        coefs, intercepts = state[0]
        return [np.asarray(W) for W in coefs], [np.asarray(b) for b in intercepts]

    run(1)  # compiles
    return lambda: run(work.n_epochs)


def _glorot(work: Work) -> Weights:
    """Weights from Glorot's bound for the sigmoid, as MLPRegressor draws them."""
    rng = np.random.RandomState(work.seed)
    coefs, intercepts = [], []
    for n_in, n_out in work.sizes:
        bound = np.sqrt(2 / (n_in + n_out))
        coefs.append(rng.uniform(-bound, bound, (n_in, n_out)).astype(work.y.dtype))
        intercepts.append(rng.uniform(-bound, bound, n_out).astype(work.y.dtype))
    return coefs, intercepts


MINI_BATCH: dict[str, Callable[[Work], Train]] = {
    "ours": _ours,
    "mlp": _mlp,
    "torch": _torch,
    "torch_fused": partial(_torch, fused=True),
    "jax": _jax,
}
