"""What ``onnxplain check --bench`` measures, how samples are run, and settings of ONNX Runtime that users choose."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain import Explainer, InputError
from onnxplain.cli.timing import measure

from support import small_models as small


def test_timings_are_positive_and_belong_to_their_batches() -> None:
    explainer = Explainer(small.quadratic(), cache=False)
    found = measure(explainer, (1, 3))
    assert [timing.batch for timing in found.timings] == [1, 3]
    assert all(timing.forward > 0 and timing.saliency > 0 and timing.ratio > 0 for timing in found.timings)
    assert found.timings[1].rate == pytest.approx(3 / found.timings[1].saliency)
    assert found.shapes == {"x": [1, 3, 4, 4]} and found.plan.bytes_per_sample > 0


def test_a_fixed_batch_is_timed_with_that_one() -> None:
    assert [timing.batch for timing in measure(Explainer(small.quadratic(batch=2), cache=False)).timings] == [2]


def test_the_plan_says_how_samples_are_run() -> None:
    x = small.inputs(9)
    plan = Explainer(small.quadratic(), cache=False, batch_size=4, threads=2).plan(x)
    assert (plan.runs, plan.samples, plan.threads) == (2, 2, 1)
    assert Explainer(small.quadratic(), cache=False, threads=1).plan(x).runs == 1


def test_settings_of_onnx_runtime_replace_ours() -> None:
    chosen = {
        "enable_mem_pattern": False,
        "graph_optimization_level": "ORT_ENABLE_BASIC",
        "session.set_denormal_as_zero": "1",
        "session.force_spinning_stop": False,
    }
    explainer, x = Explainer(small.quadratic(), cache=False, session_options=chosen), small.inputs(3)
    options = explainer._attributor.session.session._session.get_session_options()
    assert not options.enable_mem_pattern
    assert options.graph_optimization_level.name == "ORT_ENABLE_BASIC"
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"
    assert options.get_session_config_entry("session.force_spinning_stop") == "0"
    np.testing.assert_allclose(explainer.attribute(x, 1), small.quadratic_gradient(x, [1] * 3), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("nonsense", 1, "have no 'nonsense'"), ("enable_mem_pattern", "maybe", "'enable_mem_pattern' cannot be 'maybe'")],
)
def test_settings_that_do_not_exist_are_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Explainer(small.quadratic(), cache=False, session_options={name: value})
