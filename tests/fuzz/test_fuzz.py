"""A few hundred damaged files, and whether the trial itself notices what goes wrong."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from onnxplain import differentiate
from onnxplain.errors import InputError

from . import models, pictures, sidecars
from .campaign import PAGE, Tally, campaign, report, write
from .mutate import mutate_json, mutate_message
from .worker import outcome
from support.small_models import quadratic

#: How many of the first 150 models the guard may have to catch: each of them is refused in nobody's words. Lower it.
MOST_CAUGHT = 2

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and time are those of Linux")


@linux
@pytest.mark.slow
def test_damaged_models_end_in_a_result_or_a_clear_error() -> None:
    tally = campaign("models", 150, processes=2, zoo=False)
    assert tally.outcomes.total() == 150
    assert tally.failed == 0, tally.examples
    assert tally.outcomes["caught"] <= MOST_CAUGHT, tally.examples
    assert tally.outcomes["fine"] > 10
    assert tally.outcomes["refused"] > 10


@linux
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pictures", "sidecars"])
def test_damaged_pictures_and_sidecars_end_in_a_result_or_a_clear_error(kind: str) -> None:
    tally = campaign(kind, 200)
    assert tally.outcomes.total() == 200
    assert tally.failed + tally.outcomes["caught"] == 0, tally.examples
    assert min(tally.outcomes["fine"], tally.outcomes["refused"]) > 10


def test_a_seed_is_the_same_file_every_time() -> None:
    assert models.damaged(7) == models.damaged(7)
    assert pictures.damaged(7) == pictures.damaged(7)
    assert len({pictures.damaged(seed) for seed in range(20)}) > 15


def test_mutations_change_models_and_values() -> None:
    changed = 0
    for seed in range(50):
        model = quadratic()
        mutate_message(model, random.Random(seed))
        changed += model != quadratic()
    assert changed > 35
    assert sum(mutate_json({"a": 1}, random.Random(seed)) != {"a": 1} for seed in range(50)) > 35


@pytest.mark.parametrize(
    ("error", "kind"),
    [(None, "fine"), (InputError("no."), "refused"), (KeyError("axis"), "traceback"), (MemoryError(), "memory")],
)
def test_outcomes_are_told_apart(error: Exception | None, kind: str) -> None:
    def attempt(seed: int) -> None:
        if error is not None:
            raise error

    assert outcome(attempt, 0)["kind"] == kind


@linux
def test_a_process_that_dies_is_noticed_and_started_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "fuzz"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "worker.py").write_text(
        "import json, os, sys\n"
        "for seed in range(int(sys.argv[2]), int(sys.argv[3])):\n"
        "    print(json.dumps({'seed': seed}), flush=True)\n"
        "    if seed == 3: os._exit(7)\n"
        "    found = {'seed': seed, 'kind': 'fine', 'what': '', 'text': '', 'seconds': 1, 'peak': 9}\n"
        "    print(json.dumps(found), flush=True)\n"
    )
    monkeypatch.setattr("fuzz.campaign.TESTS", tmp_path)
    tally = campaign("models", 6)
    assert tally.outcomes == {"fine": 5, "died": 1}
    assert tally.failed == 1
    assert tally.examples["died", "code 7 in ?"][0] == 3


@linux
def test_a_run_goes_on_where_another_ended(tmp_path: Path) -> None:
    keep = tmp_path / "kept.jsonl"
    first = campaign("sidecars", 8, first=3, keep=keep)
    lines = keep.read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == list(range(3, 11))
    keep.write_text("\n".join([*lines[:2], *lines[5:]]) + "\n")
    again = campaign("sidecars", 10, first=3, keep=keep)
    assert [json.loads(line)["seed"] for line in keep.read_text().splitlines()[5:]] == [5, 6, 7, 11, 12]
    assert again.outcomes.total() == 10
    assert all(again.outcomes[kind] >= first.outcomes[kind] for kind in first.outcomes)


def test_the_table_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text("# A\n\n<!-- the fuzz: written by tests/fuzz -->\nold\n<!-- end of the fuzz -->\n\n# B\n")
    tally = Tally("models")
    tally.add(0, {"kind": "fine", "what": "", "text": "", "seconds": 2.5, "growth": 3 << 20})
    write([tally], page)
    text = page.read_text()
    assert "old" not in text
    assert "| models | 1 | 1 | 0 |" in text
    assert "| 2.5 s | 3 MB |" in text
    assert text.startswith("# A\n\n<!--")
    assert text.endswith("<!-- end of the fuzz -->\n\n# B\n")


def test_the_page_has_the_place_for_the_table() -> None:
    assert report([]).splitlines()[0] in PAGE.read_text(encoding="utf-8")


def test_seeds_are_sound_models() -> None:
    """What is damaged can be differentiated: a refusal says something of the damage."""
    chosen = random.Random(0).sample(models.seeds(), 20)
    found = [outcome(lambda seed: differentiate(chosen[seed], "cotangent"), seed)["kind"] for seed in range(20)]
    assert found.count("fine") >= 15


def test_attempts_read_what_was_damaged() -> None:
    """The sidecars of a few seeds are refused: they are looked at."""
    assert {outcome(sidecars.attempt, seed)["kind"] for seed in range(30)} >= {"fine", "refused"}
