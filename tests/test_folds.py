"""Folds: what each scheme withholds, and that inner splits repeat the outer kind."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from glacmb_grid.errors import InputError
from glacmb_grid.validation.folds import join_folds, make_folds, of_scheme

SCHEMES = ("logo", "loyo", "both_out")


def samples_of(pairs):
    glacier, year = zip(*pairs, strict=True)
    return xr.Dataset(
        coords={
            "sample": [f"{g}:{y}" for g, y in pairs],
            "glacier": ("sample", np.array(glacier, dtype=object)),
            "year": ("sample", np.array(year)),
        }
    )


def grid(glaciers, years):
    return samples_of([(g, y) for g in glaciers for y in years])


def test_each_scheme_withholds_what_its_name_says():
    samples = grid("ab", [2001, 2002])
    glacier, year = samples["glacier"].values, samples["year"].values
    logo = make_folds(samples, "logo")
    assert list(logo["fold"].values) == ["a", "b"]
    np.testing.assert_array_equal(logo["fit"].values[0], glacier == "b")
    np.testing.assert_array_equal(logo["score"].values[0], glacier == "a")
    loyo = make_folds(samples, "loyo")
    np.testing.assert_array_equal(loyo["score"].values[1], year == 2002)
    both = make_folds(samples, "both_out")
    first = both.isel(fold=0)
    assert str(first["fold"].values) == "a:2001"
    np.testing.assert_array_equal(first["score"].values, (glacier == "a") & (year == 2001))
    np.testing.assert_array_equal(first["fit"].values, (glacier == "b") & (year == 2002))


pairs = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(2000, 2006)), min_size=4, max_size=25, unique=True)


@given(pairs, st.sampled_from(SCHEMES), st.integers(2, 6))
def test_no_fold_sees_what_it_scores(pairs, scheme, inner):
    samples = samples_of(pairs)
    glacier, year = samples["glacier"].values, samples["year"].values
    outer = {"logo": [glacier], "loyo": [year], "both_out": [glacier, year]}[scheme]
    together = [[g == v for g in label] for label in outer for v in label]  # rows withheld with each row, by label
    size = len(glacier)
    withheld = [np.logical_or.reduce([together[i + k * size] for k in range(len(outer))]) for i in range(size)]
    if any(w.all() for w in withheld):
        with pytest.raises(InputError, match="left to fit on"):
            make_folds(samples, scheme, inner=inner)
        return
    folds = make_folds(samples, scheme, inner=inner)
    fit, score = folds["fit"].values, folds["score"].values
    assert (score.sum(axis=0) == 1).all()
    assert not (fit & score).any()
    for f, s in zip(fit, score, strict=True):
        if scheme in ("logo", "both_out"):
            assert not set(glacier[f]) & set(glacier[s])
        if scheme in ("loyo", "both_out"):
            assert not set(year[f]) & set(year[s])
    inner_fit, inner_score = folds["inner_fit"].values, folds["inner_score"].values
    assert not ((inner_fit | inner_score) & ~fit[:, None]).any()
    assert inner_fit.any(axis=2).all()
    assert inner_score.any(axis=2).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_inner_splits_repeat_the_outer_kind(scheme):
    samples = grid("abcdef", range(2000, 2012))
    glacier, year = samples["glacier"].values, samples["year"].values
    folds = make_folds(samples, scheme, inner=4)
    for fit, score in zip(
        folds["inner_fit"].values.reshape(-1, samples.sizes["sample"]),
        folds["inner_score"].values.reshape(-1, samples.sizes["sample"]),
        strict=True,
    ):
        if scheme in ("logo", "both_out"):
            assert not set(glacier[fit]) & set(glacier[score])
        if scheme in ("loyo", "both_out"):
            assert not set(year[fit]) & set(year[score])


def test_with_two_glaciers_the_inner_split_withholds_years():
    folds = make_folds(grid("ab", range(2000, 2010)), "logo", inner=3)
    years = np.array([int(s.split(":")[1]) for s in folds["sample"].values])
    for fit, score in zip(folds["inner_fit"].values[0], folds["inner_score"].values[0], strict=True):
        assert not set(years[fit]) & set(years[score])


def test_masks_do_not_depend_on_observed_values():
    samples = grid("abc", range(2000, 2006))
    changed = samples.assign(mass_balance=("sample", np.random.default_rng(0).normal(size=18)))
    for scheme in SCHEMES:
        xr.testing.assert_identical(make_folds(samples, scheme), make_folds(changed, scheme))


def test_one_glacier_cannot_be_left_out():
    with pytest.raises(InputError, match="left to fit on"):
        make_folds(grid("a", range(2000, 2006)), "logo")


def test_an_unknown_scheme_is_named():
    with pytest.raises(ValueError, match="unknown scheme 'loco'"):
        make_folds(grid("ab", [2000, 2001]), "loco")


def test_joined_folds_come_apart_again():
    samples = grid("abc", range(2000, 2004))
    apart = [make_folds(samples, s) for s in SCHEMES]
    joined = join_folds(apart)
    for scheme, folds in zip(SCHEMES, apart, strict=True):
        xr.testing.assert_identical(of_scheme(joined, scheme), folds)
