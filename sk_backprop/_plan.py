"""What 'auto' stands for: the solver, the hidden layers, and how many networks.

Levenberg-Marquardt with evidence is taken while its steps, n P^2 + P^3 operations for P
parameters, are affordable. Shape and start are then chosen by trials (`_trials`), and as
many networks are trained as are affordable. All choices are by counted operations and by
the rows' own values, never by the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

import numpy as np

from sk_backprop._ensemble import train_networks
from sk_backprop._network import Network
from sk_backprop._training import Problem, Settings, StreamState, Trained, Weights
from sk_backprop._trials import choose

# n_samples * n_params up to which all rows at once, by lbfgs, are taken where lm is not: a
# run of 4 s on the UCI protein set with 50 units (2.3e7, one thread).
_LBFGS_LIMIT = 2.5e7

# What a fit by lm may cost, in multiply-adds: `_SECOND` of them take a second on a core
# of 45 Gflop/s (two to a multiply-add) in products of matrices, overhead included.
_SECOND = 7e10


def _budget(n_samples: int) -> float:
    return _SECOND * min(0.8 + n_samples / 1000, 60.0)


# Steps of a run: 20 to 80 were seen; and what a step costs beside its arithmetic.
_STEPS, _OVERHEAD = 40, 4e7

# Hidden layers tried in turn. Two layers of ten units have about as many parameters as
# one of twenty, and the higher likelihood on eight of the nine UCI sets; but one layer
# erred less on the smoothest of them (yacht: RMSE 0.29, with two layers 0.38).
_SHAPES = ((5, 5), (20,), (10, 10), (15, 15), (20, 20), (30, 30))

# Plain steps of lm before the evidence decides: from a cold start a wiggly target may be
# taken for noise, from a warm one noise for a wiggly target.
_COLD, _WARM = 2, 10

_LEAST_NETWORKS, _MOST_NETWORKS = 2, 12

# What the other solvers take for 'auto': one layer, and the penalty that served best
# over 20 data sets (benchmarks/defaults.csv).
_PLAIN_SHAPE, _PLAIN_ALPHA = (20,), 2.0

# Part of the operations that the final networks may take; the rest is for the choice.
_FINAL_SHARE = 0.65


def run_cost(network: Network, n_samples: int, n_steps: float = _STEPS) -> float:
    """Multiply-adds of training one network by lm."""
    n_params, n_outputs = network.n_params, network.layer_sizes[-1]
    step = n_outputs * n_samples * n_params**2 + 3.0 * n_params**3 + _OVERHEAD
    return float(n_steps * step)


def choose_solver(network: Network, n_samples: int) -> str:
    """What solver='auto' stands for, for a network of given shape."""
    if run_cost(network, n_samples) <= _FINAL_SHARE * _budget(n_samples):
        return "lm"
    return "lbfgs" if n_samples * network.n_params <= _LBFGS_LIMIT else "adam"


# {name: type} of the settings that are parameters as they stand.
_PLAIN_SETTINGS = {
    name: kind
    for name, kind in get_type_hints(Settings).items()
    if name not in ("network", "solver", "alpha", "batch_size", "starts")
}


def settings_of(estimator: Any, network: Network) -> Settings:
    """The estimator's parameters, of which the solver may still be 'auto'."""
    # numpy scalars are numbers here: a float32 would spoil the arithmetic.
    plain = {name: kind(getattr(estimator, name)) for name, kind in _PLAIN_SETTINGS.items()}
    return Settings(
        network=network,
        solver=str(estimator.solver),
        alpha=None if estimator.alpha == "auto" else float(estimator.alpha),
        batch_size=200 if estimator.batch_size == "auto" else int(estimator.batch_size),
        starts=(),
        **plain,
    )


@dataclass(frozen=True)
class Plan:
    """What to train.

    candidates : Settings of the shapes and starts to choose from, by rows held out
    n_networks : int, or None for as many as are affordable
    """

    candidates: list[Settings]
    n_networks: int | None

    @property
    def settings(self) -> Settings:
        """What all candidates agree on."""
        return self.candidates[0]


def make_plan(
    settings: Settings,
    hidden: tuple[int, ...] | None,
    n_networks: int | None,
    n_samples: int,
) -> Plan:
    """Resolve solver='auto', alpha='auto' (None), and hidden layers 'auto' (None).

    Parameters
    ----------
    settings : Settings, of which `network` may lack the hidden layers
    n_networks : int, or None for 'auto'
    """
    network, solver = settings.network, settings.solver
    shapes = _affordable(network, n_samples) if hidden is None else [network]
    if hidden is None and (solver not in ("auto", "lm") or not shapes):
        # lm where nothing is affordable: the least that it can do.
        shapes = [_shaped(network, _SHAPES[0] if solver == "lm" else _PLAIN_SHAPE)]
    if solver == "auto":
        solver = choose_solver(shapes[0], n_samples)
    settings = replace(settings, solver=solver, network=shapes[0])
    if solver != "lm":
        alpha = _PLAIN_ALPHA if settings.alpha is None else settings.alpha
        return Plan([replace(settings, alpha=alpha)], n_networks or 1)
    if settings.alpha is not None:
        return Plan([replace(settings, network=shape) for shape in shapes], n_networks or 1)
    if len(shapes) == 1:
        return Plan([replace(settings, starts=(_COLD, _WARM))], n_networks)
    cold = replace(settings, starts=(_COLD,))
    warm = [replace(settings, network=shape, starts=(_WARM,)) for shape in shapes]
    return Plan([cold, *warm], n_networks)


def carry_out(
    plan: Plan,
    problem: Problem,
    starts: Sequence[Weights] | None,
    rng: np.random.RandomState,
    n_jobs: int | None,
    streams: Sequence[StreamState] | None = None,
) -> tuple[Settings, list[Trained]]:
    """Choose among the candidates, and train the networks.

    Parameters
    ----------
    starts, streams : for each network, or None
    """
    n_seeds = max(plan.n_networks or 0, _MOST_NETWORKS)
    seeds = [int(seed) for seed in rng.randint(2**31 - 1, size=n_seeds)]
    settings, n_steps = plan.settings, float(_STEPS)

    def n_networks_of(candidate: Settings, steps: float) -> int:
        affordable = _number_of_networks(candidate.network, problem.rows.n_samples, steps)
        return plan.n_networks or affordable

    if len(plan.candidates) > 1 and starts is None:
        expected = [n_networks_of(candidate, _STEPS) for candidate in plan.candidates]
        settings, n_steps = choose(plan.candidates, expected, problem, n_jobs)
    seeds = seeds[: n_networks_of(settings, n_steps)]
    networks = train_networks(
        settings, problem, seeds, starts=starts, streams=streams, n_jobs=n_jobs
    )
    return settings, networks


def _number_of_networks(network: Network, n_samples: int, n_steps: float) -> int:
    affordable = _FINAL_SHARE * _budget(n_samples) / run_cost(network, n_samples, n_steps)
    return int(np.clip(affordable, 1, _MOST_NETWORKS))


def _shaped(network: Network, hidden: tuple[int, ...]) -> Network:
    n_features, n_outputs = network.layer_sizes[0], network.layer_sizes[-1]
    return replace(network, layer_sizes=(n_features, *hidden, n_outputs))


def _affordable(network: Network, n_samples: int) -> list[Network]:
    """`network` with the hidden layers that lm can pay for, from the smallest on.

    All but the smallest have no more parameters than there are rows.
    """
    limit = _FINAL_SHARE * _budget(n_samples) / _LEAST_NETWORKS
    shapes = [_shaped(network, hidden) for hidden in _SHAPES]
    return [
        shape
        for shape in shapes
        if run_cost(shape, n_samples) <= limit
        and (shape.n_params <= n_samples or shape == shapes[0])
    ]
