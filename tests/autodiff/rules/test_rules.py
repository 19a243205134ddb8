"""Every rule, at every case, checked against finite differences, torch and ONNX Runtime."""

from __future__ import annotations

import pytest

from onnxplain.autodiff import rules
from onnxplain.autodiff.reverse import registry

from support.cases import all_cases
from support.cases.base import Case
from support.checker import check

CASES = all_cases()
assert rules


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_gradient(case: Case) -> None:
    check(case)


def test_case_names_are_unique() -> None:
    ids = [case.id for case in CASES]
    assert sorted(set(ids)) == sorted(ids)


def test_every_rule_has_a_case() -> None:
    tested = {
        (case.domain, case.op, found.since_version)
        for case in CASES
        if (found := registry.lookup(case.domain, case.op, case.opset if not case.domain else 1)) is not None
    }
    registered = {
        (r.domain, r.op_type, r.since_version)
        for r in registry.registrations()
        if r.rule.__module__ != "onnxplain.autodiff.reverse.registry"
    }
    assert registered - tested == set()


def test_every_case_has_a_rule() -> None:
    missing = {
        (case.domain, case.op)
        for case in CASES
        if registry.lookup(case.domain, case.op, case.opset if not case.domain else 1) is None
    }
    assert missing == set()
