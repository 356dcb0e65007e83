"""The suite itself: it ends wherever it is started, its marker, and all that the pages show."""

import doctest
import importlib.util
import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
from cases import every_pair

ROOT = Path(__file__).parent.parent
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "sk_backprop/guide.md")
}
GUIDE = PAGES["sk_backprop/guide.md"]


def run_pytest(*arguments, before="", timeout=200, **environment):
    """Its exit status and output, in a process of its own; without workers unless asked for."""
    command = f'{before} exec "$0" -m pytest -q -p no:cacheprovider -n 0 "$@"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=timeout,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout + done.stderr


def load_conftest():
    """tests/conftest.py, run again as a module of another name."""
    path = ROOT / "tests" / "conftest.py"
    spec = importlib.util.spec_from_file_location("conftest_of_tests", path)
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    return conftest


needs_sh = pytest.mark.skipif(sys.platform == "win32", reason="runs in a shell of POSIX")


# --- it ends ---


@pytest.mark.slow
@needs_sh
def test_ctrl_c_is_tested_where_a_shell_lets_it_be_ignored():
    # As in the background of a script, where the fit went on for ever.
    status, output = run_pytest(
        "tests/test_faults.py", "-k", "long_run and lbfgs", before="trap '' INT;"
    )
    assert (status, "1 passed" in output) == (0, True), output


@needs_sh
@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 0])
def test_a_test_that_hangs_fails_by_its_name_and_the_others_go_on(workers, tmp_path):
    file = tmp_path / "test_some.py"
    file.write_text(
        "import faulthandler, threading, time\n"
        "def test_sleeping(): time.sleep(60)\n"
        "def test_waiting(): threading.Event().wait(60)\n"
        "def test_busy():\n    while True: pass\n"
        "def test_after(): assert faulthandler.is_enabled()\n"
    )
    # A second is not enough for what pytest itself imports at the first failure.
    asked = ("-c", ROOT / "pyproject.toml", "-o", "timeout=2", "-n", workers)
    status, output = run_pytest(file, *asked)
    assert status == 1, output
    failed = re.findall(r"^FAILED .*::(\w+) - Failed: Timeout", output, re.MULTILINE)
    assert sorted(failed) == ["test_busy", "test_sleeping", "test_waiting"]
    assert "3 failed, 1 passed" in output


@pytest.mark.slow
@needs_sh
def test_a_test_that_ends_its_worker_is_named_and_the_others_go_on(tmp_path):
    file = tmp_path / "test_some.py"
    file.write_text("import os\ndef test_ending(): os._exit(1)\ndef test_other(): pass\n")
    status, output = run_pytest(file, "-c", ROOT / "pyproject.toml", "-n", 2)
    assert status == 1, output
    named = re.findall(r"^worker '\w+' crashed while running '.*::(\w+)'", output, re.MULTILINE)
    assert named == ["test_ending"], output
    assert "1 failed, 1 passed" in output


def test_every_test_has_a_timeout(request):
    assert request.config.pluginmanager.hasplugin("timeout")
    assert 100 <= float(request.config.getini("timeout")) <= 600


# --- the marker, and workers ---


def collected(*arguments, **environment):
    """The ids of the tests that a run would make, in order."""
    status, output = run_pytest("--collect-only", *arguments, **environment)
    assert status == 0, output
    return re.findall(r"^[\w./]+::.*$", output, re.MULTILINE)


@pytest.mark.slow
@needs_sh
def test_every_process_finds_the_same_tests_in_the_same_order_and_no_file_is_slow_as_a_whole():
    # Workers refuse to begin otherwise, with those that are slow too. Sets of strings have another
    # order under each seed.
    every = collected("tests", "-m", "", PYTHONHASHSEED="1")
    fast = collected("tests", PYTHONHASHSEED="2")
    chosen = set(fast)
    assert fast == [test for test in every if test in chosen]
    # What is slow is left out unless it is asked for, and is not the whole of a file.
    assert len(every) - len(fast) > 100
    assert {test.partition("::")[0] for test in fast} == {test.partition("::")[0] for test in every}


def test_every_two_values_of_a_covering_set_meet():
    rows = every_pair("abcd", range(4), [None, True], "xyz")
    assert len(set(rows)) == len(rows) < 4 * 4 * 2 * 3 / 4
    for one, other in combinations(range(4), 2):
        met = {(row[one], row[other]) for row in rows}
        assert len(met) == len({row[one] for row in rows}) * len({row[other] for row in rows})
    assert {len({row[k] for row in rows}) for k in range(4)} == {4, 2, 3}
    assert rows == every_pair("abcd", range(4), [None, True], "xyz")


def test_workers_take_one_blas_thread_unless_another_number_is_asked_for(monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    for asked in ("3", None):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if asked:
            monkeypatch.setenv("OMP_NUM_THREADS", asked)
        load_conftest()
        assert os.environ["OMP_NUM_THREADS"] == (asked or "1")


# --- the README and the guide ---


def blocks_of(page):
    """(language, text) of each block of a page."""
    return re.findall(r"^```(.*?)\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


def anchors_of(text):
    """What a link to each heading of a page ends with, as GitHub writes it."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_for_a_shell(page):
    assert {language for language, _ in blocks_of(page)} <= {"python", "bash"}
    parser = doctest.DocTestParser()
    n_examples = 0
    for language, block in blocks_of(page):
        if language == "python":
            assert block.startswith(">>> "), block
            assert block.endswith("\n\n"), block  # otherwise ``` would be the last output
            text = [part for part in parser.parse(block) if isinstance(part, str) and part.strip()]
            assert not text, text
            n_examples += len(parser.get_examples(block))
    assert n_examples == len(parser.get_examples(PAGES[page])) > 20
    assert "doctest:" not in PAGES[page]


@pytest.mark.slow
@needs_sh
def test_pages_are_collected():
    output = "\n".join(collected("README.md", "benchmarks/README.md", "sk_backprop/guide.md"))
    assert all(f"{page}::" in output for page in PAGES)


@pytest.mark.parametrize(
    "page", ["README.md", "sk_backprop/guide.md", "benchmarks/README.md", "tests/README.md"]
)
def test_what_a_page_links_to_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            other = (ROOT / page).parent / path if path else ROOT / page
            assert other.exists(), target
            assert not anchor or anchor in anchors_of(other.read_text(encoding="utf-8")), target


def test_the_readme_is_short():
    assert len(PAGES["README.md"].split()) < 2500


def test_without_callbacks_the_rest_of_the_guide_is_run():
    conftest = load_conftest()
    examples = doctest.DocTestParser().get_examples(GUIDE)
    kept = conftest.without_callbacks(GUIDE, examples)
    left_out = [example.source for example in examples if example not in kept]
    (block,) = (
        block for _, block in blocks_of("sk_backprop/guide.md") if "sklearn.callback" in block
    )
    assert left_out == [one.source for one in doctest.DocTestParser().get_examples(block)]
    # Nothing after the block needs what it defines.
    after = "".join(example.source for example in kept if example.lineno > examples[0].lineno)
    assert not re.search(r"\b(monitor|GoodEnough|ProgressBar|ScoringMonitor)\b", after)


@pytest.mark.parametrize(
    ("needed", "extra"),
    [
        (r"sklearn\.callback", "callbacks"),
        (r"(Prediction|Interval|Network|Relevance|LossCurve)Display", "plot"),
        (r"skl2onnx|to_mlp_regressor\(model\)", "export"),
        (r"as_pandas", "pandas"),
        (r"import pandas", "frames"),
        (r"import dask", "dask"),
    ],
)
def test_a_block_that_needs_an_extra_says_so_before_it(needed, extra):
    found = [
        (page, block)
        for page in PAGES
        for kind, block in blocks_of(page)
        if kind == "python" and re.search(needed, block)
    ]
    assert found
    for page, block in found:
        before = PAGES[page][: PAGES[page].index(block)]
        section = before[[*re.finditer(r"^#", before, re.MULTILINE)][-1].start() :]
        assert f".[{extra}]" in section or f"' {extra}`" in section, block
