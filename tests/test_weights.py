"""The one operator, against dense loops and answers known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from glacmb_grid.sampling.apply import weighted_means
from glacmb_grid.weights import Weights, from_dataset, from_entries, identity

ROWS, SIZE = 4, 6
EPSILON = np.finfo(np.float64).eps


@st.composite
def operators(draw, rows=ROWS, size=SIZE, max_entries=14):
    """Entries in any order, duplicates and zeros among them; some rows empty."""
    count = draw(st.integers(0, max_entries))
    row = draw(hnp.arrays(np.int64, count, elements=st.integers(0, rows - 1)))
    column = draw(hnp.arrays(np.int64, count, elements=st.integers(0, size - 1)))
    weight = draw(hnp.arrays(np.float64, count, elements=st.one_of(st.just(0.0), st.floats(1e-3, 1e3))))
    return row, column, weight


def make(entries, rows=ROWS, size=SIZE, **more):
    return from_entries(*entries, rows=[f"g{i}" for i in range(rows)], size=size, **more)


def dense(entries, rows=ROWS, size=SIZE):
    matrix = np.zeros((rows, size))
    for r, c, w in zip(*entries, strict=True):
        matrix[r, c] += w
    return matrix


def means(weights, values):
    """Weighted means of what is not missing, (..., size) -> (..., row), and the weight behind them."""
    weight = weights.sums(np.where(np.isfinite(values), 1.0, np.nan))
    with np.errstate(invalid="ignore", divide="ignore"):
        return weights.sums(values) / weight, weight


FIELD = hnp.arrays(np.float64, (3, SIZE), elements=st.one_of(st.just(np.nan), st.floats(-1e3, 1e3)))


@given(operators(), FIELD)
def test_sums_and_means_are_those_of_what_is_valid(entries, field):
    weights = make(entries)
    sums, (mean, weight) = weights.sums(field), means(weights, field)
    matrix = dense(entries)
    for step in range(len(field)):
        for row in range(ROWS):
            top = bottom = 0.0
            for cell in range(SIZE):
                if np.isfinite(field[step, cell]):
                    top += matrix[row, cell] * field[step, cell]
                    bottom += matrix[row, cell]
            assert sums[step, row] == pytest.approx(top, rel=1e-12, abs=1e-7)
            assert weight[step, row] == pytest.approx(bottom, rel=1e-12)
            if bottom == 0:
                assert np.isnan(mean[step, row])
            else:
                assert mean[step, row] == pytest.approx(top / bottom, rel=1e-10, abs=1e-7)


def test_a_mean_and_its_coverage_known_by_hand():
    weights = from_entries([0, 0, 0, 1], [2, 0, 3, 3], [1.0, 3.0, 4.0, 2.0], rows=["a", "b"], size=5, total=[10.0, 2.0])
    assert weights.touched.tolist() == [0, 2, 3]
    cells = np.array([[8.0, 4.0, np.nan], [1.0, 1.0, 5.0]])
    field = np.zeros((2, 5))
    field[:, weights.touched] = cells
    assert weights.sums(field).tolist() == [[28.0, 0.0], [24.0, 10.0]]
    mean, coverage = weighted_means(cells.T, weights)
    np.testing.assert_array_equal(mean.T, [[7.0, np.nan], [3.0, 5.0]])
    np.testing.assert_array_equal(coverage.T, np.array([[0.4, 0.0], [0.8, 1.0]], np.float32))


@given(operators(), FIELD, st.integers(0, SIZE))
def test_sums_of_column_blocks_add_up(entries, field, cut):
    row, column, weight = entries
    blocks = [make((row[i], column[i], weight[i])) for i in (column < cut, column >= cut)]
    total = sum(block.sums(field) for block in blocks)
    np.testing.assert_allclose(total, make(entries).sums(field), rtol=1e-12, atol=1e-7)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 4, 30, 1000, 10_000]),
    st.floats(1e-6, 1e6),
    st.sampled_from([-1.0, 1.0]),
)
@settings(max_examples=40, deadline=None)
def test_a_constant_comes_out_within_four_ulp_however_many_cells(seed, cells, value, sign):
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(3 * cells), cells)
    weight = rng.random(3 * cells) * 10.0 ** rng.integers(-6, 9, 3 * cells)
    field = np.where(rng.random((2, cells)) < 0.3, np.nan, sign * value)
    field[:, 0] = sign * value
    weights = from_entries(row, column, weight, rows=["a", "b", "c"], size=cells)
    mean, _ = means(weights, field)
    assert (np.abs(mean - sign * value) <= 4 * np.spacing(value)).all()


def test_a_constant_comes_out_of_large_outlines_exactly_in_single_precision():
    rng = np.random.default_rng(1)
    row, column = np.divmod(np.arange(20 * 60), 60)
    weights = from_entries(row, column, rng.random(1200) * 1e8, rows=np.arange(20), size=60)
    values = rng.normal(270, 10, 50).astype(np.float32)
    mean, _ = means(weights, np.repeat(values[:, None], 60, axis=1))
    np.testing.assert_allclose(mean, np.repeat(values[:, None], 20, axis=1), rtol=60 * EPSILON)
    np.testing.assert_array_equal(mean.astype(np.float32), np.repeat(values[:, None], 20, axis=1))


def test_infinite_values_count_as_missing():
    weights = from_entries([0, 0], [0, 1], [1.0, 1.0], rows=["a"], size=2)
    assert means(weights, np.array([np.inf, 3.0]))[0].tolist() == [3.0]
    assert np.isnan(means(weights, np.array([-np.inf, np.nan]))[0]).all()


@pytest.mark.parametrize("leading", [(), (1,), (5,), (2, 3), (0,), (2, 0, 3)])
def test_any_leading_shape(leading):
    weights = make((np.array([0, 1, 1]), np.array([1, 1, 3]), np.array([2.0, 1.0, 1.0])))
    values = np.random.default_rng(0).normal(size=(*leading, 2))
    field = np.full((*leading, SIZE), np.nan)
    field[..., weights.touched] = values
    mean, _ = means(weights, field)
    assert mean.shape == (*leading, ROWS)
    np.testing.assert_allclose(mean[..., 0], values[..., 0])
    np.testing.assert_allclose(mean[..., 1], values.mean(axis=-1))
    assert np.isnan(mean[..., 2:]).all()


@pytest.mark.parametrize("leading", [(), (3,), (0, 2)])
def test_nothing_touched_gives_nothing(leading):
    weights = make((np.empty(0), np.empty(0), np.empty(0)), total=np.ones(ROWS))
    mean, _ = means(weights, np.ones((*leading, SIZE)))
    assert mean.shape == (*leading, ROWS)
    assert np.isnan(mean).all()


def test_float32_values_are_summed_in_float64():
    weights = from_entries([0, 0, 0], [0, 1, 2], [1.0, 1.0, 1.0], rows=["a"], size=3)
    sums = weights.sums(np.array([2.0**25, 1.0, 1.0], np.float32))
    assert sums.dtype == np.float64
    assert sums.tolist() == pytest.approx([2.0**25 + 2.0], rel=1e-15)  # single precision would lose both


def test_entries_of_the_same_row_and_column_add():
    twice = from_entries([0, 0, 0], [1, 0, 1], [2.0, 1.0, 3.0], rows=["a"], size=2)
    once = from_entries([0, 0], [0, 1], [1.0, 5.0], rows=["a"], size=2)
    values = np.array([[10.0, 4.0], [np.nan, 4.0]])
    np.testing.assert_array_equal(twice.sums(values), once.sums(values))
    np.testing.assert_array_equal(means(twice, values), means(once, values))
    assert twice.total.tolist() == [6.0]
    assert from_dataset(twice.to_dataset()).sums(values).tolist() == [[30.0], [20.0]]
    np.testing.assert_allclose(identity(["a"]).compose(twice).matrix.toarray(), [[1 / 6, 5 / 6]], rtol=1e-15)


@given(operators(rows=3, size=4), operators(rows=4, size=5))
def test_compose_is_the_product_with_row_normalised_means(outer, inner):
    composed = make(outer, 3, 4, total=[7.0, 8.0, 9.0]).compose(make(inner, 4, 5, source="cells"))
    right = dense(inner, 4, 5)
    sums = right.sum(axis=1, keepdims=True)
    expected = dense(outer, 3, 4) @ np.divide(right, sums, out=np.zeros_like(right), where=sums > 0)
    found = dense((composed.row, composed.column, composed.weight), 3, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert (composed.size, composed.source, composed.total.tolist()) == (5, "cells", [7.0, 8.0, 9.0])


@given(st.integers(0, 2**32 - 1))
def test_composed_means_are_the_means_of_means(seed):
    rng = np.random.default_rng(seed)
    outer = from_entries(*np.divmod(np.arange(12), 4), rng.random(12) + 0.1, rows=list("abc"), size=4)
    inner = from_entries(*np.divmod(np.arange(20), 5), rng.random(20) + 0.1, rows=list("wxyz"), size=5)
    field = rng.normal(size=(2, 5))
    step_by_step = means(outer, means(inner, field)[0])
    at_once = means(outer.compose(inner), field)
    np.testing.assert_allclose(at_once[0], step_by_step[0], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(at_once[1], step_by_step[1], rtol=1e-12)


def test_compose_refuses_operators_that_do_not_fit():
    with pytest.raises(AssertionError, match="rows of the inner"):
        identity(["a", "b"]).compose(identity(["a"]))


@given(operators())
def test_round_trip_through_a_dataset(entries):
    weights = make(entries, total=np.arange(ROWS) + 0.5, source="digest")
    back = from_dataset(weights.to_dataset())
    for name in ("row", "column", "weight", "rows", "total"):
        np.testing.assert_array_equal(getattr(back, name), getattr(weights, name))
    assert (back.size, back.source) == (SIZE, "digest")


def test_round_trip_through_a_file(tmp_path):
    weights = make((np.array([1, 0]), np.array([5, 2]), np.array([0.1, 1 / 3])), source="s")
    weights.to_dataset().to_netcdf(tmp_path / "weights.nc")
    with xr.open_dataset(tmp_path / "weights.nc") as ds:
        back = from_dataset(ds)
    np.testing.assert_array_equal(back.weight, weights.weight)
    np.testing.assert_array_equal(back.rows, weights.rows)
    assert back.size == SIZE


def test_identity_takes_each_column_as_it_is():
    eye = identity(["x", "y", "z"])
    values = np.array([[1.0, np.nan, 3.0]])
    assert eye.is_identity
    np.testing.assert_array_equal(means(eye, values)[0], values)
    assert eye.total.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("row", "column", "weight", "size"),
    [
        ([0, 1], [1, 0], [1.0, 1.0], 2),
        ([0, 1], [0, 1], [1.0, 0.5], 2),
        ([0, 1], [0, 1], [1.0, 1.0], 3),
        ([0, 0], [0, 1], [1.0, 1.0], 2),
        ([0], [0], [1.0], 2),
        ([0, 1, 1], [0, 1, 1], [1.0, 0.5, 0.5], 2),
    ],
)
def test_what_is_no_identity(row, column, weight, size):
    assert not from_entries(row, column, weight, rows=["a", "b"], size=size).is_identity


def test_sums_of_a_whole_source():
    regions = from_entries([0, 0, 1], [3, 1, 0], [2.0, 10.0, 1.0], rows=["r", "s"], size=5)
    assert regions.sums(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])).tolist() == [[28.0, 1.0]]


def test_entries_are_sorted_by_row_and_total_defaults_to_their_sum():
    weights = make((np.array([3, 0, 3, 1]), np.array([1, 4, 0, 2]), np.array([1.0, 2.0, 3.0, 4.0])))
    assert weights.row.tolist() == [0, 1, 3, 3]
    assert weights.column.tolist() == [4, 2, 0, 1]
    assert weights.weight.tolist() == [2.0, 4.0, 3.0, 1.0]
    assert weights.total.tolist() == [2.0, 4.0, 0.0, 4.0]


@pytest.mark.parametrize(
    ("row", "column", "weight", "message"),
    [
        (0, 0, -1e-12, "negative"),
        (0, 0, np.nan, "finite"),
        (0, 0, np.inf, "finite"),
        (ROWS, 0, 1.0, "row numbers"),
        (0, SIZE, 1.0, "column numbers"),
        (0, -1, 1.0, "column numbers"),
    ],
)
def test_impossible_entries_are_refused(row, column, weight, message):
    with pytest.raises(ValueError, match=message):
        make(([0, row], [1, column], [1.0, weight]))


def test_it_shows_its_shape_entries_and_coverage_in_one_line():
    weights = from_entries([0, 0, 1], [0, 1, 4], [1.0, 1.0, 3.0], rows=["a<b", "c"], size=6, total=[4.0, 3.0])
    assert repr(weights) == "<Weights: 2 rows x 6 columns, 3 entries, coverage of rows 50% to 100%>"
    assert weights._repr_html_() == f"<code>&lt;{repr(weights)[1:-1]}&gt;</code>"
    assert repr(identity([])) == "<Weights: 0 rows x 0 columns, 0 entries, coverage of rows none>"


def test_lengths_must_agree():
    one = np.array([0])
    with pytest.raises(AssertionError, match="equal lengths"):
        Weights(one, one, np.ones(2), np.array(["a"]), np.ones(1), 1)
    with pytest.raises(AssertionError, match="one total"):
        Weights(one, one, np.ones(1), np.array(["a"]), np.ones(2), 1)
