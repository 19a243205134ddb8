"""Every engine that has an environment gives ONNX Runtime's gradients, or refuses as the table of the package says.

The environments are made by ``cd tests && python -m engines.environments``.
"""

from __future__ import annotations

import pytest

from engines.comparison import outcome
from engines.environments import ENGINES, Engine
from engines.models import MODELS, Sample, sample
from onnxplain.autodiff.engines import issues

#: Of the largest element.
TOLERANCE = 2e-5


@pytest.fixture(scope="module", params=list(MODELS))
def drawn(request: pytest.FixtureRequest) -> Sample:
    return sample(MODELS[request.param])


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
def test_same_gradients(engine: Engine, drawn: Sample) -> None:
    if not engine.ready:
        pytest.skip(f"no environment of {engine.name}; run python -m engines.environments {engine.name}")
    found = outcome(engine, drawn)
    stated = issues(drawn.model, engine.shares or engine.name)
    if found.refusal:
        assert stated, f"{engine.title} refuses a model that the table does not name: {found.refusal}"
    else:
        assert found.difference <= TOLERANCE
