"""Measures of maps alone: localisation, sparseness, agreement; against hand-computed values and plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain import InputError
from onnxplain.metrics import box_masks, energy_in_mask, pointing_game, rank_correlation, sparseness, ssim


def peak(y: int, x: int, size: int = 20) -> np.ndarray:
    found = np.full((1, size, size), 0.1)
    found[0, y, x] = 1
    return found


# localisation


@pytest.mark.parametrize(
    ("y", "x", "tolerance", "hit"),
    [
        (5, 5, 0, True), (9, 9, 0, True), (10, 9, 0, False), (10, 9, 1, True), (12, 12, 4, False),
        (12, 12, 4.25, True), (4, 7, 0, False), (4, 7, 1, True),
    ],
)  # fmt: skip
def test_pointing_game_measures_the_distance_to_the_object(y: int, x: int, tolerance: float, hit: bool) -> None:
    mask = box_masks([[5, 5, 10, 10]], 20, 20)
    assert pointing_game(peak(y, x), mask, tolerance=tolerance).tolist() == [hit]


def test_pointing_game_in_batches_with_the_tolerance_of_the_paper() -> None:
    maps = np.concatenate([peak(0, 0, 40), peak(39, 39, 40)])[:, None]
    masks = np.repeat(box_masks([[10, 10, 20, 20]], 40, 40), 2, axis=0)[:, None]
    assert pointing_game(maps, masks).tolist() == [True, False]
    assert pointing_game(maps, masks, tolerance=0).tolist() == [False, False]


def test_a_constant_map_points_nowhere_and_of_equal_maxima_the_upper_left_counts() -> None:
    mask = box_masks([[0, 0, 2, 2]], 4, 4)
    assert not pointing_game(np.ones((1, 4, 4)), mask, tolerance=99)[0]
    twice = np.zeros((1, 4, 4))
    twice[0, 0, 0] = twice[0, 3, 3] = 1
    assert pointing_game(twice, mask, tolerance=0)[0]
    assert not pointing_game(twice[:, ::-1, ::-1] * mask[:, ::-1, ::-1], mask, tolerance=0)[0]


def test_energy_by_hand() -> None:
    maps = np.array([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    masks = np.array([[[0, 1], [0, 1]], [[1, 0], [0, 0]]])
    np.testing.assert_allclose(energy_in_mask(maps, masks), [0.6, 0])
    np.testing.assert_allclose(energy_in_mask(masks, masks), [1, 1])
    np.testing.assert_allclose(energy_in_mask(np.ones((1, 10, 10)), box_masks([[0, 0, 5, 4]], 10, 10)), [0.2])


def test_boxes_exclude_their_right_and_bottom() -> None:
    masks = box_masks([[1, 0, 3, 2], [0, 1, 1, 2]], 3, 4)
    expected = np.zeros((2, 3, 4), bool)
    expected[0, 0:2, 1:3] = expected[1, 1, 0] = True
    np.testing.assert_array_equal(masks, expected)


@pytest.mark.parametrize("measure", [pointing_game, energy_in_mask])
def test_masks_that_do_not_fit_are_refused(measure) -> None:
    with pytest.raises(InputError, match="shaped like the maps"):
        measure(np.ones((1, 4, 4)), np.ones((1, 4, 5)))
    with pytest.raises(InputError, match="mask 1 is empty"):
        measure(np.ones((2, 2, 2)), np.array([np.ones((2, 2)), np.zeros((2, 2))]))


def test_bad_localisation_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="tolerance"):
        pointing_game(np.ones((1, 4, 4)), np.ones((1, 4, 4)), tolerance=-1)
    with pytest.raises(InputError, match="negative values"):
        energy_in_mask(-np.ones((1, 4, 4)), np.ones((1, 4, 4)))
    with pytest.raises(InputError, match="boxes"):
        box_masks([1, 2, 3, 4], 5, 5)


# sparseness


def test_gini_index_by_hand() -> None:
    values = np.zeros((4, 8))
    values[0] = 3
    values[1, 2] = -5
    values[2] = [0, 0, 0, 0, 1, 1, 1, 1]
    np.testing.assert_allclose(sparseness(values), [0, 1 - 1 / 8, 0.5, 0], atol=1e-12)


def test_gini_index_is_half_the_relative_mean_difference() -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    for row, found in zip(np.abs(values).reshape(2, -1), sparseness(values)):
        differences = np.abs(row[:, None] - row[None, :])
        np.testing.assert_allclose(found, differences.mean() / (2 * row.mean()), rtol=1e-12)


def test_sparseness_ignores_sign_scale_and_order() -> None:
    values = np.random.default_rng(0).standard_normal((1, 30))
    expected = sparseness(values)
    np.testing.assert_allclose(sparseness(-7 * values[:, ::-1]), expected)
    with pytest.raises(InputError, match="finite"):
        sparseness(np.array([[np.inf, 1]]))


# agreement


def test_rank_correlation_without_ties_is_the_textbook_formula() -> None:
    generator = np.random.default_rng(0)
    a, b = (generator.permutation(24).reshape(1, 4, 6).astype(float) for _ in range(2))
    expected = 1 - 6 * np.square(a - b).sum() / (24 * (24**2 - 1))
    np.testing.assert_allclose(rank_correlation(a, b), [expected], rtol=1e-12)


def test_rank_correlation_with_ties_by_hand() -> None:
    a, b = np.array([[[1.0, 2.0, 2.0, 3.0]]]), np.array([[[1.0, 2.0, 3.0, 3.0]]])
    expected = np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3.5, 3.5])[0, 1]
    np.testing.assert_allclose(rank_correlation(a, b), [expected], rtol=1e-12)


def test_rank_correlation_sees_order_alone() -> None:
    a = np.random.default_rng(0).random((2, 9, 9))
    np.testing.assert_allclose(rank_correlation(a, np.exp(5 * a)), [1, 1])
    np.testing.assert_allclose(rank_correlation(a, -a), [-1, -1])
    assert abs(rank_correlation(a[:1], a[1:])[0]) < 0.3
    assert np.isnan(rank_correlation(a, np.ones_like(a))).all()


def test_ssim_is_a_plain_loop_over_windows() -> None:
    generator = np.random.default_rng(0)
    a = generator.random((2, 9, 8))
    b = a + 0.3 * generator.random((2, 9, 8))
    d = np.arange(5) - 2
    weights = np.exp(-(d[:, None] ** 2 + d[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    for row, found in enumerate(ssim(a, b, window=5)):
        local = []
        for y in range(5):
            for x in range(4):
                p, q = a[row, y : y + 5, x : x + 5], b[row, y : y + 5, x : x + 5]
                mp, mq = (weights * p).sum(), (weights * q).sum()
                vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
                cov = (weights * (p - mp) * (q - mq)).sum()
                c1, c2 = 0.01**2, 0.03**2
                local.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
        np.testing.assert_allclose(found, np.mean(local), rtol=1e-9)


def test_ssim_of_equal_maps_is_one_and_scales_with_the_range() -> None:
    a, b = np.random.default_rng(0).random((2, 1, 12, 12))
    np.testing.assert_allclose(ssim(a, a), [1])
    np.testing.assert_allclose(ssim(a, b), ssim(255 * a, 255 * b, value_range=255))
    assert ssim(a, b)[0] < 0.3
    with pytest.raises(InputError, match="window"):
        ssim(a[:, :8, :8], b[:, :8, :8])
    with pytest.raises(InputError, match="shapes"):
        rank_correlation(a, b[:, :8])
