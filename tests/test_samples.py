"""Observations joined to their glacier-years."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.samples import as_table, build_samples, operator_of, with_operator
from glacmb_grid.vocabulary import Meaning, meaning_coordinates
from glacmb_grid.weights import from_entries

YEARS = [2000, 2001, 2003]


def make_predictors():
    """The first predictor says glacier and year."""
    stamp = 10000.0 * np.arange(3)[:, None] + np.array(YEARS)
    values = np.stack([stamp, -stamp], axis=2).astype(np.float32)
    return xr.Dataset(
        {
            "predictors": (("glacier", "year", "predictor"), values),
            "temperature": (("glacier", "year", "month"), np.repeat(stamp[:, :, None], 12, axis=2)),
            "orography": ("glacier", [1.0, 2.0, 3.0]),
        },
        coords={
            "glacier": np.array(["a", "b", "c"], dtype=object),
            "year": YEARS,
            "predictor": ["stamp", "mirror"],
            **meaning_coordinates([Meaning("stamp"), Meaning("mirror")]),
            "month": np.arange(1, 13),
            "time_bnds": (("year", "bnds"), np.zeros((3, 2))),
        },
        attrs={"first_month": 10},
    )


def make_linked(*pairs):
    n = len(pairs)
    return pd.DataFrame(
        {
            "site": [str(100 + i) for i in range(n)],
            "name": [f"NAME {g}" for g, _ in pairs],
            "glacier": [g for g, _ in pairs],
            "year": [y for _, y in pairs],
            "mass_balance": [-0.1 * (i + 1) for i in range(n)],
            "uncertainty": [0.2 + 0.01 * i for i in range(n)],
            "uncertainty_given": [i % 2 == 0 for i in range(n)],
            "link": ["exact"] * n,
            "time_system": ["FXD"] * n,
            "line": range(n),
        }
    )


PAIRS = ("c", 2001), ("a", 2003), ("a", 1999), ("c", 2000), ("b", 2002), ("a", 2000)


def test_samples_are_sorted_and_joined_to_their_own_rows():
    samples, outside = build_samples(make_predictors(), make_linked(*PAIRS))
    assert samples["sample"].values.tolist() == ["a:2000", "a:2003", "c:2000", "c:2001"]
    assert samples["glacier"].values.tolist() == ["a", "a", "c", "c"]
    assert samples["year"].values.tolist() == [2000, 2003, 2000, 2001]
    np.testing.assert_allclose(samples["mass_balance"], [-0.6, -0.2, -0.4, -0.1])
    np.testing.assert_allclose(samples["mass_balance_uncertainty"], [0.25, 0.21, 0.23, 0.20])
    assert samples["site"].values.tolist() == ["105", "101", "103", "100"]
    assert samples["uncertainty_given"].values.tolist() == [False, False, False, True]
    assert samples["predictors"].values[:, 0].tolist() == [2000, 2003, 22000, 22001]
    assert samples["temperature"].values[:, 5].tolist() == [2000, 2003, 22000, 22001]
    assert samples["orography"].values.tolist() == [1.0, 1.0, 3.0, 3.0]
    assert samples["row_glacier"].values.tolist() == ["a", "a", "c", "c"]
    assert samples["row_year"].values.tolist() == [2000, 2003, 2000, 2001]
    assert samples["mass_balance"].attrs["units"] == "m"
    assert outside[["glacier", "year"]].to_numpy().tolist() == [["a", 1999], ["b", 2002]]
    assert outside.index.tolist() == [0, 1]


def test_the_order_of_the_observations_does_not_matter():
    linked = make_linked(*PAIRS)
    expected, _ = build_samples(make_predictors(), linked)
    xr.testing.assert_identical(build_samples(make_predictors(), linked.iloc[::-1])[0], expected)


def test_annual_samples_have_the_identity_as_operator():
    samples, _ = build_samples(make_predictors(), make_linked(*PAIRS))
    operator = operator_of(samples)
    assert operator.is_identity
    assert operator.rows.tolist() == samples["sample"].values.tolist()
    balance = np.array([[1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_array_equal(operator.sums(balance), balance)


def test_no_observation_left_is_an_error():
    with pytest.raises(InputError, match=r"2000\.\.2003") as error:
        build_samples(make_predictors(), make_linked(("a", 1999), ("b", 2002)))
    assert error.value.found.startswith("2 linked")
    with pytest.raises(InputError, match="0 linked"):
        build_samples(make_predictors(), make_linked())


def test_a_glacier_without_predictors_is_an_error_and_not_the_last_glacier():
    with pytest.raises(InputError, match="none for x"):
        build_samples(make_predictors(), make_linked(("a", 2000), ("x", 2001), ("x", 2003)))


def test_a_table_has_one_line_per_sample():
    samples, _ = build_samples(make_predictors(), make_linked(*PAIRS))
    table = as_table(samples)
    assert table["sample"].tolist() == samples["sample"].values.tolist()
    assert table["stamp"].tolist() == [2000, 2003, 22000, 22001]
    assert table["mirror"].tolist() == [-2000, -2003, -22000, -22001]
    np.testing.assert_allclose(table["mass_balance"], [-0.6, -0.2, -0.4, -0.1])
    assert table["time_system"].tolist() == ["FXD"] * 4
    assert table["uncertainty_given"].dtype == bool
    assert table["year"].tolist() == [2000, 2003, 2000, 2001]


def multi_year():
    """Three observations of four rows: a two-year sum, half a year and a bit, and one annual balance."""
    samples, _ = build_samples(make_predictors(), make_linked(*PAIRS))
    operator = from_entries([2, 0, 0, 1, 1], [3, 0, 1, 1, 2], [1.0, 1.0, 1.0, 0.5, 0.25], rows=["p", "q", "r"], size=4)
    three = samples.isel(sample=slice(0, 3)).assign_coords(sample=np.array(["p", "q", "r"], dtype=object))
    return with_operator(three, operator), operator


def test_an_operator_over_several_years_comes_back_as_it_was():
    samples, operator = multi_year()
    back = operator_of(samples)
    assert samples.sizes["entry"] == 5
    assert not back.is_identity
    np.testing.assert_array_equal(back.matrix.toarray(), operator.matrix.toarray())
    assert back.rows.tolist() == ["p", "q", "r"]
    assert back.size == 4
    np.testing.assert_allclose(back.sums(np.array([1.0, 10.0, 100.0, 1000.0])), [11.0, 30.0, 1000.0])


def test_only_annual_samples_make_a_table():
    with pytest.raises(ValueError, match="p, q, r"):
        as_table(multi_year()[0])


def test_an_operator_must_fit_its_samples():
    samples, _ = build_samples(make_predictors(), make_linked(*PAIRS))
    names = samples["sample"].values
    with pytest.raises(AssertionError, match="rows of these samples"):
        with_operator(samples, from_entries([0], [0], [1.0], rows=names, size=5))
    with pytest.raises(AssertionError, match="their observations"):
        with_operator(samples, from_entries([0], [0], [1.0], rows=names[:2], size=4))
