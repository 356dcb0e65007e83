"""The lines that a fit prints while it goes on."""

import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import make_friedman1

from sk_backprop import BackpropRegressor
from sk_backprop._estimator import progress as _progress

SOLVERS = ["lm", "lbfgs", "adam", "sgd"]


@pytest.fixture(scope="module")
def friedman():
    return make_friedman1(100, noise=0.1, random_state=0)


def regressor(**params):
    return BackpropRegressor(**{"hidden_layer_sizes": (4,), "random_state": 0, **params})


def lines_of(capsys):
    """Seconds and text of each line; the time has its column."""
    out, err = capsys.readouterr()
    assert err == ""
    return [
        (float(line[:7]), re.fullmatch(r" s  (.*\S)", line[7:])[1]) for line in out.splitlines()
    ]


def texts(capsys):
    return [text for _, text in lines_of(capsys)]


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by 0.4 s whenever it is looked at."""
    times = iter(np.arange(0, 1000, 0.4))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: next(times))


@pytest.mark.parametrize("params", [{}, {"hidden_layer_sizes": "auto"}], ids=["fixed", "auto"])
@pytest.mark.parametrize("solver", [*SOLVERS, "auto"])
def test_nothing_is_printed_unless_asked(friedman, capfd, solver, params):
    model = regressor(solver=solver, **params).fit(*friedman)
    if solver in ("adam", "sgd"):
        model.partial_fit(*friedman)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", [0, False, np.False_])
def test_zero_is_silence(friedman, capfd, verbose):
    regressor(solver="lm", n_networks=2, verbose=verbose).fit(*friedman)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("solver", SOLVERS)
def test_2_prints_every_iteration_and_the_end(friedman, capsys, solver):
    model = regressor(solver=solver, alpha=2.0, verbose=2).fit(*friedman)
    *iterations, end = texts(capsys)
    assert [int(line.split()[1]) for line in iterations] == list(range(1, model.n_iter_ + 1))
    losses = [float(line.split()[3]) for line in iterations]
    np.testing.assert_allclose(losses, model.loss_curve_, rtol=1e-5)
    assert end == f"converged after {model.n_iter_} iterations, loss {model.loss_:.6g}"
    assert len({len(line) for line in iterations}) == 1


@pytest.mark.parametrize("solver", SOLVERS)
def test_validation_data_have_their_columns(friedman, capsys, solver):
    X, y = friedman
    model = regressor(solver=solver, alpha=2.0, verbose=2)
    model.fit(X[:70], y[:70], X_val=X[70:], y_val=y[70:])
    pattern = r"iteration +\d+  loss +\S+  validation loss +(\S+)  R2 +(\S+)"
    found = [re.fullmatch(pattern, line).groups() for line in texts(capsys)[:-1]]
    losses, scores = np.array(found, dtype=float).T
    np.testing.assert_allclose(losses, model.validation_loss_curve_, rtol=1e-5)
    np.testing.assert_allclose(scores, model.validation_scores_, atol=1e-6)


def test_gamma_is_printed_where_the_evidence_decides(friedman, capsys):
    model = regressor(hidden_layer_sizes=(), solver="lm", weight_groups="layer", verbose=2)
    model.fit(*friedman)
    *iterations, _ = texts(capsys)
    gamma = [re.search(r"gamma +(\S+)$", line) for line in iterations]
    assert [found is not None for found in gamma] == [False] * 2 + [True] * (len(gamma) - 2)
    # The last is from before the last step, which has converged.
    assert float(gamma[-1][1]) == pytest.approx(model.n_effective_params_[0], abs=0.1)
    regressor(solver="lm", alpha=1.0, verbose=2).fit(*friedman)
    assert not any("gamma" in line for line in texts(capsys))


@pytest.mark.usefixtures("clock")
def test_1_prints_the_first_iteration_a_line_a_second_and_the_end(friedman, capsys):
    model = regressor(solver="lbfgs", alpha=2.0, verbose=1).fit(*friedman)
    *iterations, end = lines_of(capsys)
    assert iterations[0][1].startswith("iteration     1  loss")
    assert end[1].startswith(f"converged after {model.n_iter_} iterations")
    pauses = np.diff([seconds for seconds, _ in iterations])
    assert len(pauses) > 3
    assert np.all(pauses >= 1.0)
    # Looked at once for an iteration, and once more for a line: two go by unseen.
    assert [int(text.split()[1]) for _, text in iterations] == [
        1 + 3 * k for k in range(len(iterations))
    ]


def test_a_fast_fit_prints_two_lines(friedman, capsys):
    regressor(solver="lbfgs", alpha=2.0, max_iter=1000, verbose=True).fit(*friedman)
    assert len(texts(capsys)) == 2


def test_many_networks_are_no_flood(friedman, capsys):
    model = regressor(solver="lm", n_networks=4, verbose=1).fit(*friedman)
    lines = texts(capsys)
    assert len(lines) <= 4  # the second, third or fourth if the machine is slow
    assert lines[0].startswith("network 1 of 4  start 1 of 2  iteration     1  loss")
    assert re.fullmatch(r"4 networks: 4 converged; \d+ iterations in all", lines[-1])
    assert model.n_networks_ == 4


def test_each_line_says_which_run_it_belongs_to(friedman, capsys):
    regressor(solver="lm", n_networks=3, verbose=2).fit(*friedman)
    *lines, _ = texts(capsys)
    # Those that failed have been replaced: there may be more than three.
    pattern = r"network (\d) of \d  start (\d) of 2  (.*)"
    runs = [re.fullmatch(pattern, line).groups() for line in lines]
    order = list(dict.fromkeys(run[:2] for run in runs))
    n_networks = len(order) // 2
    assert n_networks >= 3
    assert order == [(str(k + 1), str(start)) for k in range(n_networks) for start in (1, 2)]
    ends = [text for *_, text in runs if not text.startswith("iteration")]
    assert len(ends) == 2 * n_networks
    assert all(text.startswith("converged after") for text in ends)


def test_trials_are_counted_and_the_selected_candidate_is_printed(friedman, capsys):
    model = BackpropRegressor(random_state=0, verbose=2).fit(*friedman)
    lines = texts(capsys)
    chosen = f"chosen: solver='lm', hidden_layer_sizes={model.hidden_layer_sizes_}"
    n_trials = lines.index(chosen)
    assert n_trials >= 2
    for k, line in enumerate(lines[:n_trials], start=1):
        assert re.match(rf"trial {k} of at most \d+; best so far: solver='lm', ", line)
    assert "iterations in all" in lines[-1] or "converged after" in lines[-1]


def test_a_penalty_selected_by_trials_is_printed(friedman, capsys):
    model = regressor(solver="lbfgs", verbose=1).fit(*friedman)
    (chosen,) = [line for line in texts(capsys) if line.startswith("chosen")]
    assert chosen == f"chosen: solver='lbfgs', hidden_layer_sizes=(4,), alpha={model.alpha_:g}"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_how_a_run_ended_is_printed(friedman, capsys):
    regressor(solver="sgd", alpha=2.0, max_iter=2, n_networks=2, verbose=2).fit(*friedman)
    lines = texts(capsys)
    assert lines[-2].startswith("network 2 of 2  ended by max_iter after 2 iterations, loss ")
    assert lines[-1] == "2 networks: 2 ended by max_iter; 4 iterations in all"
    regressor(solver="lbfgs", alpha=2.0, max_fun=4, verbose=1).fit(*friedman)
    assert texts(capsys)[-1].startswith("ended by max_fun after")


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_batch_of_a_stream_has_a_line(friedman, capsys, verbose):
    model = regressor(solver="adam", verbose=verbose)
    for _ in range(3):
        model.partial_fit(*friedman)
    assert [int(line.split()[1]) for line in texts(capsys)] == [1, 2, 3]


@pytest.mark.slow
def test_processes_print_whole_lines():
    # In an interpreter of its own: workers that are there already print elsewhere.
    code = (
        "from sklearn.datasets import make_friedman1; from sk_backprop import BackpropRegressor;"
        "BackpropRegressor((4,), solver='lm', alpha=1.0, n_networks=2, n_jobs=2, verbose=2,"
        " random_state=0).fit(*make_friedman1(100, random_state=0))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line = r" +\d+\.\d s  (network [12] of 2  (iteration|converged)|2 networks: 2 converged; ).*"
    lines = run.stdout.splitlines()
    assert all(re.fullmatch(line, text) for text in lines)
    ends = {text[11:] for text in lines if "converged after" in text}
    assert {text[: len("network 1 of 2")] for text in ends} == {"network 1 of 2", "network 2 of 2"}
