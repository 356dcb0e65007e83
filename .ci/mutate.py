"""How many faults, put into the numerics one at a time, the tests find.

``python -m pip install cosmic-ray && python .ci/mutate.py`` makes a random sample of
mutants with Cosmic Ray, runs the tests against each in copies of the checkout, prints the
survivors as differences, and how many died. ``--since COMMIT`` takes only lines changed since
then. What it has done stands in a file (``--session``): a second run on the same source goes
on with it; Cosmic Ray's ``cr-report`` and ``cr-html`` read it.
"""

import argparse
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from multiprocessing import Pool
from pathlib import Path

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import TestOutcome, WorkItem

CHECKOUT = Path(__file__).resolve().parent.parent
# What is mutated, and the file of tests that knows most about it.
MUTATED = {
    "_blocks/blocks": "blocks",
    "_blocks/linalg": "blocks",
    "_network/network": "gradient",
    "_network/dispersion": "counts",
    "_network/likelihood": "likelihood",
    "_network/families": "likelihood",
    "_coordinates/affine": "affine",
    "_coordinates/scales": "scaling",
    "_inference/objective": "objective",
    "_inference/evidence": "evidence",
    "_inference/laplace": "posterior",
    "_inference/online": "stream_state",
    "_inference/predictive": "posterior",
    "_solvers/_base": "solver_contract",
    "_solvers/_result": "solvers",
    "_solvers/lbfgs": "solvers",
    "_solvers/levenberg_marquardt": "levenberg_marquardt",
    "_solvers/stochastic": "solvers",
    "_training/selection": "selection",
}
# Most of these cannot die but by a TypeError, or cannot die: bits of floats (and the `|` of
# annotations), identity for equality of what is one object. (`is None` for `is not None` stays.)
LEFT_OUT = re.compile("Bit|Shift|Invert|(?<!_IsNot)_Is$|(?<!_Is)_IsNot$")
# All of them, the quick ones first, since the first failure ends a run.
FIRST = "saved_models"
TESTS = [
    *["blocks", "affine", "solvers", "network", "objective", "gradient", "counts"],
    *["likelihood", "textbook", "levenberg_marquardt", "solver_contract", "streams", "rows"],
    *["keeping", "threads", "evidence", "posterior", "selection", "stream_state", "ensemble"],
    *["scaling", "optimality", "structure"],
]
# Seconds, several times what all tests and what the longest of them takes: what runs longer runs
# for ever.
TIMEOUT, TIMEOUT_OF_A_TEST = 900, 120
MEMORY = 8 << 30  # bytes


def changed_lines(commit):
    """{path: numbers of the lines that are not as at `commit`}."""
    command = ["git", "diff", "--unified=0", commit, "--", "sk_backprop"]
    changed, path = {}, None
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    ):
        if line.startswith("+++ "):
            path = Path(line[6:])
        elif hunk := re.match(r"@@ -\S+ \+(\d+),?(\d*) @@", line):
            start, length = int(hunk[1]), int(hunk[2] or 1)
            changed.setdefault(path, set()).update(range(start, start + length))
    return changed


def sampled(size, seed, since=None):
    """`size` of the mutants, without those of LEFT_OUT, in random order."""
    with tempfile.TemporaryDirectory() as folder:
        every = WorkDB(Path(folder, "every.sqlite"), WorkDB.Mode.create)
        init([Path("sk_backprop", f"{name}.py") for name in MUTATED], every, {})
        items = [x for x in every.work_items if not LEFT_OUT.search(x.mutations[0].operator_name)]
        every.close()
    if since is not None:
        changed = changed_lines(since)
        items = [
            x
            for x in items
            if x.mutations[0].start_pos[0] in changed.get(x.mutations[0].module_path, ())
        ]
    # In the order of the source: the sample depends on the code and the seed alone.
    items.sort(key=lambda x: (str(x.mutations[0].module_path), repr(x.mutations[0])))
    print(f"{len(items)} mutants, of which {min(size, len(items))} at random")
    return random.Random(seed).sample(items, min(size, len(items)))


def enter_a_copy(folder):
    """Makes a copy of the checkout the place and the package of this process's tests."""
    copy = Path(tempfile.mkdtemp(dir=folder)) / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(CHECKOUT, copy, ignore=ignored)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def tried(item):
    """The mutant, and what the tests found."""
    names = [MUTATED[str(x.module_path).removeprefix("sk_backprop/")[:-3]] for x in item.mutations]
    files = " ".join(f"tests/test_{name}.py" for name in dict.fromkeys([FIRST, *names, *TESTS]))
    ends = f"faulthandler_timeout={TIMEOUT_OF_A_TEST} -o faulthandler_exit_on_timeout=true"
    command = f"{sys.executable} -m pytest -x -q -n 0 -p no:cacheprovider -o {ends} {files}"
    return item, mutate_and_test(item.mutations, command, TIMEOUT)


def main():
    """Make or go on with a session, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, default=320)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--since", metavar="COMMIT", help="only of lines that have changed since then"
    )
    parser.add_argument(
        "--session", type=Path, default=Path(tempfile.gettempdir(), "mutants.sqlite")
    )
    options = parser.parse_args()
    session = WorkDB(options.session.resolve(), WorkDB.Mode.create)
    os.chdir(CHECKOUT)
    if not session.num_work_items:
        session.add_work_items(sampled(options.sample, options.seed, options.since))

    with (
        tempfile.TemporaryDirectory() as folder,
        Pool(options.jobs, enter_a_copy, [folder]) as pool,
    ):
        unchanged = pool.apply(tried, [WorkItem("unchanged", ())])[1]
        if unchanged.test_outcome is not TestOutcome.SURVIVED:
            sys.exit(f"The tests fail without any mutant.\n{unchanged.output}")
        for item, result in pool.imap_unordered(tried, session.pending_work_items):
            session.set_result(item.job_id, result)
            print(f"{session.num_results} of {session.num_work_items}", result.test_outcome.value)

    results = [result for _, result in session.results]
    for result in results:
        if result.test_outcome is not TestOutcome.KILLED:
            print(f"\n{result.test_outcome.value}\n{result.diff or result.output}")
    killed = sum(result.test_outcome is TestOutcome.KILLED for result in results)
    print(f"\n{killed} of {len(results)} were found, {killed / len(results):.1%}")


if __name__ == "__main__":
    main()
