"""The standard's own test cases: almost all right, none wrong, and docs/operators.md says so."""

from __future__ import annotations

import re
import warnings

import pytest

from support.conformance.page import PAGE, render, versions
from support.conformance.runner import Verdict, verdicts

Runs = dict[bool, list[Verdict]]


@pytest.fixture(scope="module")
def runs() -> Runs:
    """Verdicts with respect to the first float input (False) and to all of them (True)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator and the case generators divide by zero on purpose
        return {every: verdicts(every) for every in (False, True)}


@pytest.mark.slow
@pytest.mark.parametrize(("every", "cases", "ratio"), [(False, 800, 850 / 857), (True, 780, 800 / 819)])
def test_almost_all_right_and_none_wrong(runs: Runs, every: bool, cases: int, ratio: float) -> None:
    found = runs[every]
    assert len(found) >= cases
    assert [(v.case.name, v.reason) for v in found if v.outcome == "wrong"] == []
    assert sum(v.outcome == "right" for v in found) / len(found) >= ratio


@pytest.mark.slow
def test_a_refusal_names_the_operator_and_what_to_do(runs: Runs) -> None:
    for verdict in (v for v in runs[True] if v.outcome == "refused"):
        assert "::" in verdict.reason
        assert "has no gradient rule; " in verdict.reason


#: How many cases there are in a cell. Rounding decides whether one lies where a derivative can be told at all, so that
#: a few counts depend on the processor.
COUNT = re.compile(r"(?<=\| )\d+(?= \|)")


@pytest.mark.slow
def test_the_page_of_operators_is_this_run(runs: Runs) -> None:
    page = PAGE.read_text()
    if versions() not in page:
        pytest.skip(f"docs/operators.md was written with other versions; here: {versions()}")
    found = render(runs[False], runs[True])
    assert COUNT.sub("", page) == COUNT.sub("", found)
    counts = [[int(n) for n in COUNT.findall(text)] for text in (page, found)]
    assert all(abs(a - b) <= 1 for a, b in zip(*counts, strict=True)), "cases that rounding decides are few"
