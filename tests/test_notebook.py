"""What notebooks and consoles show of an estimator."""

import html
import inspect
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import sklearn
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from sk_backprop import BackpropRegressor

# scikit-learn shows documentation from 1.9 on.
TOOLTIPS = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)
PARAMETERS = list(BackpropRegressor().get_params())


@pytest.fixture(scope="module")
def fitted():
    X = np.random.RandomState(0).uniform(size=(50, 2))
    model = BackpropRegressor((3,), solver="adam", tol=0.5, early_stopping=True, random_state=0)
    return model.fit(X, X.sum(axis=1))


def described(section):
    """{name: its entry in a section of the docstring, white space apart}"""
    text = inspect.getdoc(BackpropRegressor).split(f"\n{section}\n{'-' * len(section)}\n")[1]
    text = re.split(r"\n\n\w[\w ]*\n---", text)[0]
    entries = re.split(r"^(\w+) : ", text, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(entry.split())
        for name, entry in zip(entries[::2], entries[1::2], strict=True)
    }


class Reader(HTMLParser):
    """Tooltips by name, and all addresses that can be followed."""

    def __init__(self, text):
        super().__init__()
        self.tooltips, self.links, self._text = {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs["href"]] if "href" in attrs else []
        if attrs.get("class") == "param-doc-description":
            self._text = ""
        elif self._text is not None:
            self._text += " "  # a <br>

    def handle_data(self, data):
        if self._text is not None:
            self._text += data

    def handle_endtag(self, tag):
        if tag == "span" and self._text is not None:
            name, text = " ".join(self._text.split()).split(": ", 1)
            self.tooltips[name], self._text = text, None


def test_every_parameter_has_its_documentation_as_a_tooltip():
    page = Reader(BackpropRegressor()._repr_html_())
    assert sorted(page.tooltips) == (sorted(PARAMETERS) if TOOLTIPS else [])
    assert page.tooltips == (described("Parameters") if TOOLTIPS else {})


def test_every_fitted_attribute_has_its_documentation_as_a_tooltip(fitted):
    page = Reader(fitted._repr_html_())
    text = described("Parameters") | described("Attributes")
    shown = {name for name in dir(fitted) if re.fullmatch("[a-z].*_", name)}
    assert set(page.tooltips) == (set(PARAMETERS) | shown if TOOLTIPS else set())
    assert page.tooltips == {name: text[name] for name in page.tooltips}


@pytest.mark.parametrize("state", ["new", "fitted"])
def test_nothing_is_linked_that_does_not_exist(fitted, state):
    model = fitted if state == "fitted" else BackpropRegressor()
    assert Reader(model._repr_html_()).links == []


def test_in_a_pipeline_the_links_of_others_stay():
    page = Reader(make_pipeline(StandardScaler(), BackpropRegressor())._repr_html_())
    assert all(link.startswith("https://scikit-learn.org/") for link in page.links)
    assert any("StandardScaler" in link for link in page.links)
    assert not any("backprop" in link.lower() for link in page.links)
    assert not TOOLTIPS or set(PARAMETERS) <= set(page.tooltips)


def test_parameters_that_were_set_stand_out():
    text = estimator_html_repr(BackpropRegressor((7, 5), solver="lm", alpha=1.5))
    row = r'<tr class="(user-set|default)">.*?copyToClipboard\(\'(\w+)\''
    shown = {name: kind for kind, name in re.findall(row, text, re.DOTALL)}
    assert sorted(shown) == sorted(PARAMETERS)
    changed = {name for name, kind in shown.items() if kind == "user-set"}
    assert changed == {"hidden_layer_sizes", "solver", "alpha"}
    for value in ("1.5", "&#x27;lm&#x27;", "(7, ...)"):
        assert f'<td class="value">{value}' in text


def test_without_diagrams_there_is_text_alone():
    with sklearn.config_context(display="text"):
        assert not hasattr(BackpropRegressor(), "_repr_html_")
        assert Reader(estimator_html_repr(BackpropRegressor())).links == []


def test_repr_is_short():
    assert repr(BackpropRegressor()) == "BackpropRegressor()"
    assert repr(BackpropRegressor((5,), alpha=1.0, random_state=0)) == (
        "BackpropRegressor(alpha=1.0, hidden_layer_sizes=(5,), random_state=0)"
    )
    every = dict.fromkeys(PARAMETERS, 1234)
    assert len(repr(BackpropRegressor(**every))) < 1000
    with sklearn.config_context(print_changed_only=False):
        assert len(repr(BackpropRegressor())) < 1000
    assert html.escape(repr(BackpropRegressor((5,)))) in BackpropRegressor((5,))._repr_html_()
