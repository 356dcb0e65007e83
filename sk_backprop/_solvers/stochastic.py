"""Gradient descent by mini-batches: the loop over epochs, `sgd` and `adam`.

An optimizer turns one gradient into one step of the parameters, in place; `MiniBatchSolver` runs
it over the epochs. With a batch of all rows, no momentum and no
shuffling, it is plain gradient descent.

Of a step of 20 us (32 rows, 8-50-1, float32, one thread) the forward and backward passes take 8,
Adam 4, loss and penalty 2, and Python the rest: some 30 calls of numpy, which take 0.3 us each
however small the arrays are. With 256 rows and 50-256-256-1 a step takes 1.1 ms, of which matrix
products take 0.8, at the full speed of BLAS, Adam 0.1 and the penalty 0.05.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from sk_backprop._blocks.arrays import Array, beyond_range_is_inf
from sk_backprop._inference.objective import Objective
from sk_backprop._network.network import Network, Parameters
from sk_backprop._solvers._base import Solver, StreamPass
from sk_backprop._solvers._result import Monitor, OptimizerState, SolverResult, Status

# Loss per output, in scaled units, of a constant, and of a run whose steps are too long. Where
# the noise is known, the limit is its mean loss plus so many standard deviations of that mean, but
# at least 2 % of a constant's: without noise, 500 of 1,500 batches with an R2 of .9999 were called
# diverged.
_CONSTANT, _BLOWN_UP, _BEYOND_NOISE, _NO_MATTER = 0.5, 10.0, 6.0, 0.02

# By what factor the loss may grow in any case, and from one above that limit: 40 batches in a row
# that nearly doubled it had turned an R2 of .96 into -4.
_NO_WORSE, _NO_WORSE_THAN_BAD = 2.0, 1.1


# Epochs of a run (20 to 200 were seen), passes over the rows in an epoch, usual rows of a batch,
# and the overhead of a step in addition to its arithmetic.
_EPOCHS, _BATCH_PASSES, _BATCH_ROWS, _STEP_OVERHEAD = 60, 12, 200, 1.4e6


# Minimum number of parameters for all BLAS threads to be used. Their number changes the order of
# some sums: between one and two, predictions in float32 differed by 1e-7 of the target's spread.
_LARGE_NETWORK = 1_000_000


def _worst_loss(before: float, n_rows: int, n_outputs: int, noise: Array | None) -> float:
    """Loss above which a run has diverged.

    before : float, loss of the same rows at the start; n_rows, n_outputs : int
    noise : (n_outputs,), noise variance, or None where it is not known
    """
    constant, surely = _CONSTANT * n_outputs, 1 + _BEYOND_NOISE * math.sqrt(2 / n_rows)
    if noise is None or before > surely * constant:  # worse than a constant
        return max(_BLOWN_UP * n_outputs, _NO_WORSE * before)
    worst = min(max(float(noise.mean()) * surely, _NO_MATTER) * constant, _BLOWN_UP * n_outputs)
    return max(worst, (_NO_WORSE if before <= worst else _NO_WORSE_THAN_BAD) * before)


class Pace(NamedTuple):
    """Factors of the learning rate and of the weight decay at a step."""

    rate: float = 1.0
    decay: float = 1.0


_STEADY = Pace()

# Fraction of the steps in which the learning rate rises from 0.
_WARM_UP = 0.03


def cosine_pace(progress: float) -> Pace:
    """The pace of `learning_rate='cosine'`, after a fraction of all steps.

    The rate rises linearly, then falls to 0 by half a period of the cosine (Loshchilov & Hutter
    2017, arXiv:1608.03983, eq. 5). The weight decay stays constant for half of the steps, and then
    falls by half a period, too.
    """
    rate = min(1.0, progress / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * progress))
    return Pace(rate, 0.5 * (1 + math.cos(math.pi * max(0.0, 2 * progress - 1))))


# Number of rows from which on mini-batches of 256 rows learn as well as smaller ones; and number
# above which larger ones and fewer epochs do (see `muon.MuonSolver`).
MANY_ROWS, VERY_MANY_ROWS = 10_000, 50_000

# Epochs of a schedule that has an end, by whether there are many rows, and the smallest number.
_EPOCHS_TO_END, _LEAST_EPOCHS = {False: 20, True: 15}, 4


def usual_epochs(n_samples: int) -> int:
    """Epochs of a schedule that has an end: 13 for 100,000 rows, 7 for a million."""
    epochs = _EPOCHS_TO_END[n_samples >= MANY_ROWS]
    fewer = round(epochs * math.pow(min(1.0, VERY_MANY_ROWS / n_samples), 0.25))
    return max(_LEAST_EPOCHS, fewer)


def decay_weights(params: Parameters, amount: float) -> None:
    """Multiply all weights, but not the biases, by 1 - amount."""
    if amount:
        for W in params.coefs:
            W *= 1 - amount


class Optimizer(Protocol):
    """An update rule, with the state that it keeps between steps.

    gradient : (n_params,), to be set to the gradient before a step, which overwrites it
    """

    gradient: Array

    def step(self, params: Parameters, loss: float, pace: Pace) -> None:
        """Update `params`, where the loss is `loss`, in place."""

    def end_epoch(self, n_seen: int) -> None:
        """`n_seen` samples have been seen in all."""
        return

    def shorten_steps(self) -> bool:
        """Called on a stall: True if the steps are now shorter, False to stop."""
        return False

    def state(self) -> OptimizerState:
        """What `restore` needs to continue as if there had been no pause."""

    def restore(self, state: OptimizerState) -> None:
        """Continue from the state of an optimizer of the same kind."""

    def forget(self) -> None:
        """Begin again, as at the first step, because the weights were reset."""


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, plain or Nesterov's.

    velocity <- momentum velocity - rate grad;  theta <- theta + velocity, or with
    Nesterov's theta <- theta + momentum velocity - rate grad, the form in which the
    gradient is taken where theta is (Sutskever, Martens, Dahl & Hinton 2013, ICML,
    section 2; Bengio, Boulanger-Lewandowski & Pascanu 2013, eq. 7,
    doi:10.1109/ICASSP.2013.6639349).

    n_params : int; dtype : of theta; rate, power_t, momentum, weight_decay : float
    nesterov : bool
    schedule : {'constant', 'invscaling', 'adaptive'}
        constant; rate / (1 + samples seen)^power_t; divided by 5 at every stall
        until it is below 1e-6.
    bounded : bool
        Whether the effective rate, rate / (1 - momentum), is at most loss / |grad|^2, Polyak's
        step to a loss of zero (Loizou, Vaswani, Laradji & Lacoste-Julien 2021,
        arXiv:2002.10542, SPS_max with c = 1), which does not overshoot where the loss is
        convex. An output exp(z) needs it: a count of 5 where 0.05 is expected has a hundred
        times the usual gradient. Of 72 streams of counts, in batches of 1 to 100 rows, seven
        predicted 1e20 and more; with the bound none predicted 20 times the largest rate.
    """

    def __init__(
        self,
        n_params: int,
        dtype: Any,
        *,
        rate: float,
        schedule: str = "constant",
        power_t: float = 0.5,
        momentum: float = 0.9,
        nesterov: bool = True,
        bounded: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self._initial_rate = self._rate = rate
        self._schedule, self._power_t = schedule, power_t
        self._momentum, self._nesterov, self._bounded = momentum, nesterov, bounded
        self._weight_decay = weight_decay
        self._velocity = np.zeros(n_params, dtype)
        self.gradient = np.empty(n_params, dtype)

    def step(self, params: Parameters, loss: float, pace: Pace) -> None:
        velocity, step, theta = self._velocity, self.gradient, params.flat
        rate = self._rate * pace.rate
        if self._bounded:
            rate = min(rate, (1 - self._momentum) * polyak_rate(step, loss))
        decay_weights(params, rate * pace.decay * self._weight_decay)
        step *= rate
        velocity *= self._momentum
        velocity -= step
        if self._nesterov:
            theta -= step
            np.multiply(velocity, self._momentum, out=step)
            theta += step
        else:
            theta += velocity

    def end_epoch(self, n_seen: int) -> None:
        if self._schedule == "invscaling":
            self._rate = self._initial_rate / float(np.power(n_seen + 1.0, self._power_t))

    def shorten_steps(self) -> bool:
        if self._schedule != "adaptive" or self._rate <= 1e-6:
            return False
        self._rate /= 5
        return True

    def state(self) -> OptimizerState:
        return {
            "velocity": self._velocity,
            "rate": self._rate,
            "initial_rate": self._initial_rate,
            "bounded": self._bounded,
        }

    def restore(self, state: OptimizerState) -> None:
        self._velocity[...] = state["velocity"]
        self._bounded = state["bounded"]
        if self._schedule != "constant" and state["initial_rate"] == self._initial_rate:
            self._rate = state["rate"]

    def forget(self) -> None:
        self._velocity[...] = 0
        self._rate = self._initial_rate


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1 in the form of section 2).

    m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;
    theta <- theta - rate sqrt(1 - b2^t) / (1 - b1^t)  m / (sqrt(v) + epsilon)

    What is stored is m / (1 - b1) and v / (1 - b2), stacked as g and g^2 are, so that there are
    few calls of numpy: each takes 0.4 us for some hundred parameters.

    n_params : int; dtype : of theta; rate, beta_1, beta_2, epsilon : float
    weight_decay : float; each step also multiplies the weights by 1 - rate weight_decay, which is
        not the step of an L2 penalty (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2)
    rectified : bool
        Whether to begin with short steps, while v is based on few gradients: RAdam (Liu et al.
        2020, arXiv:1908.03265, algorithm 2), except that the first four steps are zero.

    Attributes
    ----------
    t : int, steps taken
    mean : (n_params,), m / (1 - b1)
    """

    def __init__(
        self,
        n_params: int,
        dtype: Any,
        *,
        rate: float,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        rectified: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        root = math.sqrt(1 - beta_2)
        self._decay = rate * weight_decay
        self._rate, self._beta_1, self._beta_2 = rate * (1 - beta_1) / root, beta_1, beta_2
        # In float32 an epsilon that rounds to zero would divide 0 by 0.
        self._epsilon = max(epsilon / root, float(np.finfo(dtype).tiny))
        self.t, self._rectified = 0, rectified
        self._moments, self._powers = np.zeros((2, n_params), dtype), np.empty((2, n_params), dtype)
        self.mean, self._v = self._moments
        self.gradient, self._squares = self._powers

    def step(self, params: Parameters, loss: float, pace: Pace) -> None:
        theta = params.flat
        decay_weights(params, pace.rate * pace.decay * self._decay)
        theta -= self.find_step(pace)

    def find_step(self, pace: Pace) -> Array:
        """The step to subtract from the weights, written over the gradient: (n_params,)."""
        m, v = self._moments
        step: Array = self.gradient
        self.t += 1
        rate = pace.rate * self._rate * math.sqrt(1 - self._beta_2**self.t)
        rate /= 1 - self._beta_1**self.t
        if self._rectified:
            rate *= rectification(self.t, self._beta_2)
        m *= self._beta_1
        v *= self._beta_2
        np.multiply(self.gradient, self.gradient, out=self._squares)
        self._moments += self._powers
        np.sqrt(v, out=step)
        step += self._epsilon
        np.divide(m, step, out=step)
        step *= rate
        return step

    def state(self) -> OptimizerState:
        return {"m": self.mean, "v": self._v, "t": self.t, "rectified": self._rectified}

    def restore(self, state: OptimizerState) -> None:
        self.mean[...], self._v[...], self.t = state["m"], state["v"], state["t"]
        self._rectified = state["rectified"]

    def forget(self) -> None:
        self._moments[...] = 0
        self.t = 0


def polyak_rate(gradient: Array, loss: float) -> float:
    """Loss / |gradient|^2."""
    length = float(np.linalg.norm(gradient.astype(float)))  # its square may exceed float32
    return loss / length / length if length > 0 else np.inf


def rectification(t: int, beta_2: float) -> float:
    """Factor of Adam's rate at step `t`, by RAdam: 0 at first, then towards 1."""
    longest = 2 / (1 - beta_2) - 1
    length = longest - 2 * t * beta_2**t / (1 - beta_2**t)
    if longest <= 4:  # v forgets so fast that it never becomes more certain
        return 1.0
    if length <= 4:
        return 0.0
    known = (length - 4) * (length - 2) / length
    return math.sqrt(known * longest / ((longest - 4) * (longest - 2)))


class MiniBatchSolver(Solver):
    """Base class of solvers by mini-batches, which differ in their update rule.

    batch_size : int, or all rows where they are fewer
    max_iter : int, limit on epochs
    learning_rate : str, schedule
    learning_rate_init : float
    permutation : draws the order of the n rows for an epoch; None keeps it
    stream : StreamPass
    """

    all_rows = False
    streams = True
    settles = False
    advice: ClassVar[Mapping[Status, str]] = {
        "diverged": "Decrease learning_rate_init, or choose solver='lbfgs'."
    }

    batch_size: int
    max_iter: int
    learning_rate: str
    learning_rate_init: float
    permutation: Callable[[int], Array] | None
    stream: StreamPass

    @staticmethod
    def cost(network: Network, n_samples: int, n_iter: float | None = None) -> float:
        """Cost of the usual number of epochs; `n_iter` is ignored."""
        steps = n_samples / _BATCH_ROWS + 1
        epoch = _BATCH_PASSES * n_samples * network.n_params + steps * _STEP_OVERHEAD
        return float(_EPOCHS * epoch)

    @staticmethod
    def uses_blas_threads(network: Network) -> bool:
        return network.n_params >= _LARGE_NETWORK

    @abstractmethod
    def _optimizer(self, objective: Objective, params: Parameters) -> Optimizer:
        """A new optimizer, for steps from `params`."""

    @beyond_range_is_inf
    def minimize(self, objective: Objective, theta: Array, monitor: Monitor) -> SolverResult:
        """Minimise until `monitor` sees a stall, or for `max_iter` epochs.

        The loss of an epoch is the mean of its batches' losses, each at the weights
        that its step began with.
        """
        n_samples, n_seen = objective.n_samples, self.stream.n_seen
        params = objective.parameters(theta)
        optimizer = self._optimizer(objective, params)
        if self.stream.optimizer_state is not None:
            optimizer.restore(self.stream.optimizer_state)
        grad = objective.network.parameters(optimizer.gradient)
        epoch_start = params.flat.copy()
        first = next(objective.batches(min(self.batch_size, n_samples)))
        status: Status = "max_iter"
        monitor.rounded_from(theta)
        try:
            objective.follow_noise(params, self.stream.noise)
            # An epoch's loss is that before its steps; the first batch shows before and after.
            loss_before = objective.batch_loss_gradient(params, first, grad)
            monitor.note_start(loss_before)
            for epoch in range(self.max_iter):
                monitor.begin_iteration(params)
                epoch_start[...] = params.flat
                if epoch and self._has_end:
                    objective.follow_noise(params)
                loss = self._run_epoch(epoch, objective, params, grad, optimizer)
                n_seen += n_samples
                optimizer.end_epoch(n_seen)
                progress = monitor.record(params, loss, epoch_start)
                if progress in ("diverged", "stopped"):
                    status = progress
                    break
                if progress == "stalled" and not self._has_end:
                    if objective.follow_noise(params):
                        monitor.watch_anew()
                    elif not optimizer.shorten_steps():
                        status = "diverged" if monitor.worse_than_before else "converged"
                        break
                    else:
                        monitor.be_patient_again()
            if status not in ("diverged", "stopped"):
                if self._has_end:
                    status = "converged"
                loss_after = objective.batch_loss_gradient(params, first, grad)
                noise = self.stream.noise
                worst = _worst_loss(loss_before, len(first.y), objective.n_outputs, noise)
                if not loss_after <= worst:
                    status = "diverged"
        except KeyboardInterrupt:
            params.flat[...] = monitor.last_theta
            status = "interrupted"
        if status in ("diverged", "interrupted"):
            optimizer.forget()
        return monitor.result(params, status, optimizer.state())

    @property
    def _has_end(self) -> bool:
        """Whether the schedule ends after `max_iter` epochs, and not before."""
        return self.learning_rate == "cosine"

    def _run_epoch(
        self,
        epoch: int,
        objective: Objective,
        params: Parameters,
        grad: Parameters,
        optimizer: Optimizer,
    ) -> float:
        """Take the steps of an epoch.

        Parameters
        ----------
        epoch : int, from 0
        objective : Objective
        params : Parameters, updated
        grad : Parameters over the gradient of `optimizer`
        optimizer : Optimizer

        Returns
        -------
        loss : float, inf if a step was not possible
        """
        n_samples = objective.n_samples
        order = None if self.permutation is None else self.permutation(n_samples)
        batch_size = min(self.batch_size, n_samples)
        n_steps = -(-n_samples // batch_size)
        epoch_loss = 0.0
        for number, batch in enumerate(objective.batches(batch_size, order)):
            if self.stream.before_step is not None:
                self.stream.before_step(params, batch)
            loss = objective.batch_loss_gradient(params, batch, grad)
            if not loss < np.inf:
                return np.inf
            epoch_loss += loss * len(batch.y)
            pace = _STEADY
            if self._has_end:
                pace = cosine_pace((epoch + (number + 0.5) / n_steps) / self.max_iter)
            optimizer.step(params, loss, pace)
        return float(epoch_loss / n_samples)


class SGDSolver(MiniBatchSolver):
    """`SGD`, with the estimator's parameters.

    After a fit to all rows at once its rate is bounded, because the curvature of the loss is larger
    there than on the way: without the bound 35 of 40 batches of 100 rows and 387 of 400 of 10 rows
    had to be left out, with it none and one. The textbook's steps (precondition=False) keep
    the given rate.
    """

    power_t: float
    momentum: float
    nesterovs_momentum: bool
    weight_decay: float
    precondition: bool

    def _optimizer(self, objective: Objective, params: Parameters) -> SGD:
        from_optimum = self.stream.from_optimum and self.precondition
        return SGD(
            objective.network.n_params,
            objective.dtype,
            rate=self.learning_rate_init,
            schedule=self.learning_rate,
            power_t=self.power_t,
            momentum=self.momentum,
            nesterov=self.nesterovs_momentum,
            bounded=objective.likelihood.needs_bounded_steps or from_optimum,
            weight_decay=self.weight_decay,
        )


class AdamSolver(MiniBatchSolver):
    """`Adam`, with the estimator's parameters.

    After a fit to all rows at once it begins with short steps: Adam's first steps have the same
    length for all weights, and a single one, on 100 rows, turned an R2 of .99 into .79.
    """

    beta_1: float
    beta_2: float
    epsilon: float
    weight_decay: float

    def _optimizer(self, objective: Objective, params: Parameters) -> Adam:
        return Adam(
            objective.network.n_params,
            objective.dtype,
            rate=self.learning_rate_init,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            rectified=self.stream.from_optimum,
            weight_decay=self.weight_decay,
        )
