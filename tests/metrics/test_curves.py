"""Deletion and insertion curves against written-out values, and what every such curve must do."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain import InputError
from onnxplain.metrics import baseline_images, deletion, insertion

SHAPE = (3, 2, 6, 5)


def linear(weights: np.ndarray):
    """f(x, targets): the sum of the weighted pixels, times 1 + target."""

    def score(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return (x * weights).reshape(len(x), -1).sum(axis=1) * (1 + targets)

    return score


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1, SHAPE).astype(np.float32)


def test_deletion_of_four_pixels_by_hand() -> None:
    x = np.array([[[[4.0, 3.0], [2.0, 1.0]]]])
    curves = deletion(linear(np.ones((1, 2, 2))), x, x[:, 0], 0, steps=4)
    np.testing.assert_allclose(curves.fractions, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curves.scores, [[10, 6, 3, 1, 0]])
    np.testing.assert_allclose(curves.auc, [(8 + 4.5 + 2 + 0.5) / 4])
    assert curves.to_dict()["scores"] == [[10, 6, 3, 1, 0]]


def test_insertion_into_a_given_baseline_by_hand() -> None:
    x = np.array([[[[4.0, 3.0], [2.0, 1.0]]]])
    curves = insertion(linear(np.ones((1, 2, 2))), x, x[:, 0], [1], baseline=np.array(0.5), steps=2)
    np.testing.assert_allclose(curves.scores, [[4, 16, 20]])  # twice 2, 4+3+1, 10


def test_equal_pixels_vanish_from_the_upper_left() -> None:
    x = np.array([[[[1.0, 10.0], [100.0, 1000.0]]]])
    curves = deletion(linear(np.ones((1, 2, 2))), x, np.zeros((1, 2, 2)), 0, steps=4)
    np.testing.assert_allclose(curves.scores, [[1111, 1110, 1100, 1000, 0]])


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
@pytest.mark.parametrize("channels_last", [False, True])
def test_batches_and_layouts_agree_with_a_plain_loop(batch_size: int, channels_last: bool) -> None:
    x, maps, targets = images(), np.random.default_rng(1).random((3, 6, 5)), [0, 2, 1]
    weights = np.random.default_rng(2).standard_normal(SHAPE[1:])
    seen = []

    def score(batch: np.ndarray, classes: np.ndarray) -> np.ndarray:
        seen.append(len(batch))
        return linear(weights)(np.moveaxis(batch, -1, 1) if channels_last else batch, classes)

    given, axis = (np.moveaxis(x, 1, -1), -1) if channels_last else (x, 1)
    curves = deletion(score, given, maps, targets, baseline="mean", steps=7, batch_size=batch_size, channel_axis=axis)
    assert max(seen) <= batch_size
    for row in range(3):
        order = np.argsort(-maps[row].ravel(), kind="stable")
        for step, fraction in enumerate(curves.fractions):
            changed = x[row].reshape(2, -1).copy()
            changed[:, order[: round(step / 7 * 30)]] = x[row].reshape(2, -1).mean(axis=1, keepdims=True)
            expected = (changed.reshape(2, 6, 5) * weights).sum() * (1 + targets[row])
            np.testing.assert_allclose(curves.scores[row, step], expected, rtol=1e-5)
            assert fraction == round(step / 7 * 30) / 30


def test_the_perfect_map_is_best_its_reverse_worst_and_noise_between() -> None:
    weights = np.random.default_rng(3).uniform(0, 1, (1, 8, 8)) ** 4
    x, score = np.ones((1, 1, 8, 8)), linear(weights)
    maps = [weights, np.random.default_rng(4).random((1, 8, 8)), -weights]
    deleted = [deletion(score, x, one, 0, steps=16).auc[0] for one in maps]
    inserted = [insertion(score, x, one, 0, baseline="zero", steps=16).auc[0] for one in maps]
    assert deleted == sorted(deleted)
    assert inserted == sorted(inserted, reverse=True)


def test_both_curves_share_their_ends() -> None:
    x, maps = images(), np.random.default_rng(1).random((3, 1, 6, 5))
    score = linear(np.random.default_rng(2).standard_normal(SHAPE[1:]))
    down = deletion(score, x, maps, 0, baseline="zero", steps=5)
    up = insertion(score, x, maps, 0, baseline="zero", steps=5)
    np.testing.assert_allclose(down.scores[:, [0, -1]], up.scores[:, [-1, 0]])


def test_blurred_baseline_is_a_normalised_gaussian_of_eleven_taps() -> None:
    x = np.zeros((1, 1, 31, 31))
    x[0, 0, 15, 15] = 1
    blurred = baseline_images("blur", x)[0, 0]
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 5) ** 2)
    expected = np.outer(weights, weights) / weights.sum() ** 2
    np.testing.assert_allclose(blurred[10:21, 10:21], expected, rtol=1e-12)
    np.testing.assert_allclose(blurred.sum(), 1)
    np.testing.assert_allclose(baseline_images("blur", np.full((2, 4, 4, 3), 7.0), channel_axis=-1), 7)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"maps": np.zeros((3, 5, 6))}, "do not fit maps"),
        ({"maps": np.zeros((3, 2, 6, 5))}, r"maps are \[N,H,W\]"),
        ({"maps": np.full((3, 6, 5), np.nan)}, "NaN"),
        ({"targets": [0, 1]}, "one for each of 3"),
        ({"steps": 31}, "more than the 30 pixels"),
        ({"steps": 0}, "steps is a whole number"),
        ({"batch_size": 0}, "batch_size is a whole number"),
        ({"baseline": "grey"}, "zero, mean, blur"),
        ({"baseline": np.zeros(4)}, "does not fit images"),
        ({"score": lambda x, targets: x}, "one number a sample"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, reason: str) -> None:
    given = {"score": linear(np.ones(SHAPE[1:])), "x": images(), "maps": np.zeros((3, 6, 5)), "targets": 0, "steps": 5}
    with pytest.raises(InputError, match=reason):
        deletion(**{**given, **changes})
