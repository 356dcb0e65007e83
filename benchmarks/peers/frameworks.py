"""The same work in PyTorch, by hand and by skorch, and in JAX.

Linear layers of PyTorch hold their weights as (n_out, n_in). Its weight decay adds
penalty * W to the gradient, which is what the penalty's gradient is.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.peers.work import Train, Weights, Work

# --- PyTorch ---


def _torch() -> Any:
    """The module, held to one thread."""
    import torch

    torch.set_num_threads(1)
    return torch


def _model(work: Work) -> Any:
    torch = _torch()
    torch.manual_seed(work.seed)
    dtype = torch.from_numpy(work.y[:1]).dtype
    function = {"logistic": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}[work.activation]
    layers: list[Any] = []
    for n_in, n_out in zip(work.sizes, work.sizes[1:]):
        layers += [torch.nn.Linear(n_in, n_out, dtype=dtype), function()]
    model = torch.nn.Sequential(*layers[:-1])
    if work.start is not None:
        with torch.no_grad():
            for layer, W, b in zip(model[::2], *work.start, strict=True):
                layer.weight.copy_(torch.from_numpy(W.T))
                layer.bias.copy_(torch.from_numpy(b))
    return model


def _decayed(model: Any, penalty: float) -> list[dict[str, Any]]:
    """Parameters for an optimizer, of which the weights decay and the biases do not."""
    named = list(model.named_parameters())
    weights = [p for name, p in named if name.endswith("weight")]
    biases = [p for name, p in named if name.endswith("bias")]
    return [
        {"params": weights, "weight_decay": penalty},
        {"params": biases, "weight_decay": 0.0},
    ]


def _options(work: Work) -> dict[str, Any]:
    """Of the optimizer."""
    if work.solver == "adam":
        return {"lr": work.rate, "betas": work.betas, "eps": work.epsilon}
    return {"lr": work.rate, "momentum": work.momentum, "nesterov": work.momentum > 0}


def _weights(model: Any) -> Weights:
    layers = model[::2]
    coefs = [layer.weight.detach().numpy().T for layer in layers]
    return coefs, [layer.bias.detach().numpy() for layer in layers]


def torch_plain(work: Work, fused: bool = False) -> Train:
    """A loop over mini-batches, as tutorials have it; it sums the losses as ours does."""
    torch = _torch()
    X, y = torch.from_numpy(work.X), torch.from_numpy(work.y[:, None])
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[work.solver]

    def train() -> Weights:
        model = _model(work)
        optimizer = kind(_decayed(model, work.penalty), fused=fused, **_options(work))
        for _ in range(work.n_epochs):
            epoch_loss = 0.0
            order = torch.randperm(work.n_samples) if work.shuffle else None
            for start in range(0, work.n_samples, work.batch_size):
                rows = slice(start, start + work.batch_size)
                rows = rows if order is None else order[rows]
                inputs, targets = X[rows], y[rows]
                loss = 0.5 * torch.nn.functional.mse_loss(model(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                epoch_loss += loss.item() * len(targets)
        return _weights(model)

    return train


def torch_fused(work: Work) -> Train:
    """The same loop with the optimizer's step in one call."""
    return torch_plain(work, fused=True)


def skorch(work: Work) -> Train:
    """skorch.NeuralNetRegressor, silent, with neither validation nor callbacks."""
    from skorch import NeuralNetRegressor

    torch = _torch()

    class HalfSquaredError(torch.nn.MSELoss):
        def forward(self, prediction: Any, target: Any) -> Any:
            return 0.5 * super().forward(prediction, target)

    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[work.solver]
    y = work.y[:, None]

    def train() -> Weights:
        net = NeuralNetRegressor(
            _model(work),
            criterion=HalfSquaredError,
            optimizer=kind,
            optimizer__param_groups=[("*weight", {"weight_decay": work.penalty})],
            **{f"optimizer__{name}": value for name, value in _options(work).items()},
            max_epochs=work.n_epochs,
            batch_size=work.batch_size,
            iterator_train__shuffle=work.shuffle,
            train_split=None,
            callbacks="disable",
            verbose=0,
        )
        net.fit(work.X, y)
        return _weights(net.module_)

    return train


# --- JAX ---


def _without_threads() -> None:
    """XLA reads this once, when it is first used."""
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ.setdefault("XLA_FLAGS", flags)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def jax(work: Work) -> Train:
    """An epoch is one compiled `lax.scan` over its mini-batches; compiled beforehand."""
    _without_threads()
    import jax as jx
    from jax import numpy as jnp

    jx.config.update("jax_enable_x64", True)  # float32 stays float32
    X, y = jnp.asarray(work.X), jnp.asarray(work.y)
    function = {"logistic": jx.nn.sigmoid, "tanh": jnp.tanh}[work.activation]
    step_rule = {"adam": _jax_adam, "sgd": _jax_sgd}[work.solver]

    def loss(theta: Any, rows: Any) -> Any:
        coefs, intercepts = theta
        h = X[rows]
        for W, b in zip(coefs[:-1], intercepts[:-1]):
            h = function(h @ W + b)
        residual = (h @ coefs[-1] + intercepts[-1])[:, 0] - y[rows]
        penalty = sum(jnp.vdot(W, W) for W in coefs)
        return 0.5 * jnp.mean(residual**2) + 0.5 * work.penalty * penalty

    def step(state: Any, rows: Any) -> tuple[Any, Any]:
        value, grad = jx.value_and_grad(loss)(state[0], rows)
        return step_rule(work, state, grad), value

    @jx.jit
    def epoch(state: Any, batches: Any) -> tuple[Any, Any]:
        return jx.lax.scan(step, state, batches)

    one_step = jx.jit(step)
    n_whole = work.n_samples // work.batch_size
    order = np.random.RandomState(work.seed)

    def run(n_epochs: int) -> Weights:
        theta = jx.tree.map(jnp.asarray, work.start or _jax_start(work))
        zeros = jx.tree.map(jnp.zeros_like, theta)
        state = theta, zeros, zeros, jnp.zeros((), jnp.int32)
        for _ in range(n_epochs):
            rows = np.arange(work.n_samples)
            rows = order.permutation(rows) if work.shuffle else rows
            whole = rows[: n_whole * work.batch_size].reshape(n_whole, work.batch_size)
            state, _losses = epoch(state, whole)
            if rest := work.n_samples % work.batch_size:
                state, _loss = one_step(state, rows[-rest:])
        coefs, intercepts = state[0]
        return [np.asarray(W) for W in coefs], [np.asarray(b) for b in intercepts]

    run(1)  # compiles
    return lambda: run(work.n_epochs)


def _jax_start(work: Work) -> Weights:
    """Weights from Glorot's bound for the sigmoid, as MLPRegressor draws them."""
    rng, dtype = np.random.RandomState(work.seed), work.y.dtype
    coefs, intercepts = [], []
    for n_in, n_out in zip(work.sizes, work.sizes[1:]):
        bound = np.sqrt(2 / (n_in + n_out))
        coefs.append(rng.uniform(-bound, bound, (n_in, n_out)).astype(dtype))
        intercepts.append(rng.uniform(-bound, bound, n_out).astype(dtype))
    return coefs, intercepts


def _jax_adam(work: Work, state: Any, grad: Any) -> Any:
    """As in `sk_backprop._solvers.stochastic`."""
    import jax as jx
    from jax import numpy as jnp

    theta, m, v, t = state
    beta_1, beta_2 = work.betas
    t = t + 1
    power = t.astype(work.y.dtype)
    rate = work.rate * jnp.sqrt(1 - beta_2**power) / (1 - beta_1**power)
    m = jx.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, m, grad)
    v = jx.tree.map(lambda v, g: beta_2 * v + (1 - beta_2) * g * g, v, grad)
    moved = jx.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + work.epsilon), theta, m, v)
    return moved, m, v, t


def _jax_sgd(work: Work, state: Any, grad: Any) -> Any:
    """Nesterov's momentum; the second moment is not used."""
    import jax as jx

    theta, velocity, unused, t = state
    velocity = jx.tree.map(lambda u, g: work.momentum * u - work.rate * g, velocity, grad)
    moved = jx.tree.map(
        lambda p, u, g: p + work.momentum * u - work.rate * g, theta, velocity, grad
    )
    return moved, velocity, unused, t
