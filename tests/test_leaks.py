"""The checks find every planted leak by its kind, and nothing in folds that do not leak."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from glacmb_grid.errors import InputError
from glacmb_grid.folds.schemes import GROUPED, SCHEMES, join_folds, make_folds
from glacmb_grid.samples import with_operator
from glacmb_grid.validation.leaks import (
    FINDING_COLUMNS,
    check_folds,
    check_seen,
    climate_codes,
    find_aliases,
    row_hashes,
)
from glacmb_grid.weights import from_entries, identity

CONTENT = "the same content on both sides"
UNIT = "the same glacier-year on both sides"
CLIMATE = "the same climate of the same year on both sides"
BRANCH = "parent and branch, or two ids of a glacier, on both sides"
NEIGHBOURS = "neighbours within 1 km in the same year on both sides"
TARGETS = pd.DataFrame({"longitude": [80.5, 84.0, 89.0], "latitude": [40.0, 41.0, 43.0]}, index=list("uvw"))


def samples_of(glacier, year, seed=0, predictors=None, **coords):
    """Five predictors: four of climate, drawn for each row, and one of the glacier."""
    rng = np.random.default_rng(seed)
    glacier, year = np.asarray(glacier).astype(str), np.asarray(year)
    number = np.unique(glacier, return_inverse=True)[1]
    if predictors is None:
        predictors = np.concatenate(
            [rng.normal(size=(len(year), 4)), rng.normal(size=number.max() + 1)[number, None]], 1
        )
    names = [f"{g}:{y}:{i}" for i, (g, y) in enumerate(zip(glacier, year, strict=True))]
    samples = xr.Dataset(
        {
            "mass_balance": ("sample", rng.normal(size=len(year))),
            "predictors": (("row", "predictor"), predictors.astype(np.float32)),
        },
        coords={
            "sample": names,
            "glacier": ("sample", glacier.astype(object)),
            "year": ("sample", year),
            **{n: ("sample", np.array(v)) for n, v in coords.items()},
        },
    )
    return with_operator(samples, identity(names))


def grid(glaciers, years, **coords):
    pairs = [(g, y) for g in glaciers for y in years]
    return samples_of([g for g, _ in pairs], [y for _, y in pairs], **coords)


def kinds(findings):
    assert list(findings.columns) == FINDING_COLUMNS
    return {(r["kind"], r["severity"]) for r in findings.to_dict("records")}


def counts(findings, kind):
    return findings.loc[findings["kind"] == kind, "count"].sum()


def with_predictors(samples, change):
    values = samples["predictors"].values.copy()
    change(values)
    return samples.assign(predictors=(("row", "predictor"), values))


rows = st.tuples(st.integers(0, 7), st.integers(2000, 2006), st.integers(0, 9), st.sampled_from(["x", "y", ""]))


@settings(deadline=None)
@given(st.lists(rows, min_size=2, max_size=40), st.sampled_from(GROUPED), st.integers(1, 12), st.integers(2, 6))
def test_nothing_is_found_in_the_folds_of_any_grouped_scheme(table, scheme, blocks, parts):
    glacier, year, group, region = (np.array(c) for c in zip(*table, strict=True))
    samples = samples_of(
        glacier, year, group=group.astype(str), region=region, longitude=80.0 + glacier, latitude=40.0 + glacier % 3
    )
    try:
        folds = make_folds(samples, scheme, inner=3, blocks=blocks, parts=parts, buffer_km=1, targets=TARGETS)
    except InputError:
        return
    found = check_folds(samples, folds)
    assert found[found["severity"] == "leak"].empty, found
    assert set(found["kind"]) <= {"scored by no fold", "an inner split scores what it fits on"}


def test_random_folds_are_expected_to_leak():
    samples = grid("abcd", range(2000, 2010))
    found = check_folds(samples, make_folds(samples, "random"))
    assert kinds(found) == {
        ("the same glacier on both sides", "leak"),
        ("the same group on both sides", "leak"),
        ("the same year on both sides", "leak"),
    }
    assert set(found["scheme"]) == {"random"}


def test_several_schemes_are_checked_at_once():
    samples = grid("abcd", range(2000, 2010))
    found = check_folds(samples, join_folds([make_folds(samples, s) for s in ("logo", "random", "loyo")]))
    assert set(found["scheme"]) == {"random"}


# ---- planted in the masks ----


@pytest.mark.parametrize(
    ("mask", "told"),
    [("fit", "a scored row was fitted on"), ("inner_score", "a scored row was tuned on"),
     ("select", "a scored row was selected on"),
     ("stop", "a scored row was stopped on")],
)  # fmt: skip
def test_a_scored_row_that_was_used_is_found(mask, told):
    samples = grid("abcd", range(2000, 2010))
    folds = make_folds(samples, "logo")
    folds = replace(folds, stop=folds.inner_score[:, 0])
    assert check_folds(samples, folds).empty
    changed = getattr(folds, mask).copy()
    row = int(np.flatnonzero(folds.score[2])[3])
    changed[(2, 1, row) if mask.startswith("inner") else (2, row)] = True
    found = check_folds(samples, replace(folds, **{mask: changed}))
    assert kinds(found) == {(told, "leak")}
    line = found[found["kind"] == told].iloc[0]
    assert (line["fold"], line["count"], line["detail"]) == ("c", 1, samples["sample"].values[row])


def test_tuning_of_a_block_must_not_use_what_any_of_its_folds_scores():
    samples = grid("abcdefghijklmnop", range(2000, 2004))
    folds = make_folds(samples, "logo", blocks=4)
    assert check_folds(samples, folds).empty
    block = folds.blocks[0]
    other = block[1]
    inner = folds.inner_score.copy()
    inner[block, 0] |= folds.score[other]
    found = check_folds(samples, replace(folds, inner_score=inner))
    told = found[found["kind"] == "a scored row was tuned on"]
    assert told["fold"].tolist() == [str(folds.name[other])]
    assert told["count"].tolist() == [4]


def test_a_withheld_row_that_was_used_is_found():
    samples = grid("abcd", range(2000, 2004))
    folds = make_folds(samples, "both_out")
    every = replace(folds, select=np.ones_like(folds.fit))
    found = check_folds(samples, every)
    assert counts(found, "a scored row was selected on") == 16
    assert counts(found, "a withheld row was selected on") == 16 * 6  # three of its glacier, three of its year
    assert ("the same year on both sides", "leak") in kinds(found)


@pytest.mark.parametrize(("scheme", "what"), [("logo", "glacier"), ("logo", "group"), ("loyo", "year"),
                                              ("both_out", "year"), ("both_out", "glacier"), ("blocks", "group"),
                                              ("leave_region_out", "region"), ("domain", "group"),
                                              ("domain", "glacier")])  # fmt: skip
def test_what_the_scheme_leaves_out_must_be_left_out_whole(scheme, what):
    names = np.repeat(np.arange(12), 8)
    samples = grid("abcdefghijkl", range(2000, 2008), group=[f"c{i // 2}" for i in names],
                   region=[f"r{i // 4}" for i in names], longitude=80.0 + 3 * names, latitude=0.0 * names)  # fmt: skip
    folds = make_folds(samples, scheme, targets=TARGETS)
    assert check_folds(samples, folds).empty
    label = samples[what].values
    fit = folds.fit.copy()
    scored = np.flatnonzero(folds.score[0])
    same = np.flatnonzero(np.isin(label, label[scored[0]]) & ~folds.score[0])
    if scheme == "both_out":
        fit[0, same[0]] = True
        score = folds.score
    else:  # move one scored row to the other side
        score = folds.score.copy()
        score[0, scored[0]], fit[0, scored[0]] = False, True
    found = check_folds(samples, replace(folds, fit=fit, score=score))
    assert (f"the same {what} on both sides", "leak") in kinds(found)


def test_rows_of_a_glacier_year_on_both_sides():
    samples = samples_of(["a", "a", "b", "b", "c", "d"], [2000, 2000, 2000, 2001, 2000, 2002])
    folds = make_folds(samples, "loyo")
    score, fit = folds.score.copy(), folds.fit.copy()
    score[0, 1], fit[0, 1] = False, True
    found = check_folds(samples, replace(folds, fit=fit, score=score))
    assert (UNIT, "leak") in kinds(found)
    assert counts(found, UNIT) == 1
    assert ("scored by no fold", "note") in kinds(found)


def test_a_row_scored_twice_or_never_is_told():
    samples = grid("abc", range(2000, 2003))
    folds = make_folds(samples, "logo")
    score = folds.score.copy()
    score[:, 0] = True
    score[:, 8] = False
    found = check_folds(samples, replace(folds, score=score))
    assert {("scored by several folds", "leak"), ("scored by no fold", "note")} <= kinds(found)


# ---- planted in the rows ----


def test_a_copied_row_under_another_name_is_found():
    samples = grid("abcd", range(2000, 2006))

    def copy(values):
        values[20] = values[2]  # d:2002 as a:2002

    copied = with_predictors(samples, copy)
    assert CONTENT not in set(check_folds(copied, make_folds(copied, "logo"))["kind"])  # the balances differ
    balance = copied["mass_balance"].values.copy()
    balance[20] = balance[2]
    copied = copied.assign(mass_balance=("sample", balance))
    found = check_folds(copied, make_folds(copied, "logo"))
    assert kinds(found) == {(CONTENT, "leak"), (CLIMATE, "leak")}
    assert counts(found, CONTENT) == 2
    assert set(found["fold"]) == {"a", "d"}
    assert set(found["detail"]) == {"a:2002:2", "d:2002:20"}
    assert check_folds(copied, make_folds(copied, "loyo")).empty
    assert check_folds(copied, make_folds(copied, "both_out")).empty
    grouped = copied.assign_coords(group=("sample", np.where(np.isin(copied["glacier"], ["a", "d"]), "ad", "")))
    assert check_folds(grouped, make_folds(grouped, "logo")).empty


def test_shared_climate_vectors_are_found_where_only_the_glacier_is_left_out():
    samples = grid("abcdef", range(2000, 2006))

    def share(values):
        values[6:12, :4] = values[0:6, :4]  # b has the climate of a, each with its own static predictor

    shared = with_predictors(samples, share)
    found = check_folds(shared, make_folds(shared, "logo"))
    assert kinds(found) == {(CLIMATE, "leak")}
    assert counts(found, CLIMATE) == 12
    codes, size = climate_codes(shared)
    assert size == 4
    assert len(np.unique(codes)) == 30
    cells = shared.assign_coords(group=("sample", [{"a": "ab", "b": "ab"}.get(g, g) for g in shared["glacier"].values]))
    assert check_folds(cells, make_folds(cells, "logo")).empty

    def shift(values):
        values[6:11, :4] = values[1:6, :4]  # the climate of another year is another climate

    shifted = with_predictors(samples, shift)
    assert check_folds(shifted, make_folds(shifted, "logo")).empty
    few = shared.isel(predictor=[0, 4])  # one varying predictor may be equal by chance
    assert kinds(check_folds(few, make_folds(few, "logo"))) == {(CLIMATE, "note")}


def test_climate_without_values_has_no_counterpart():
    samples = grid("abc", range(2000, 2004))

    def hide(values):
        values[:, :4] = np.where(np.arange(12)[:, None] % 4 == 0, np.nan, values[:, :4])

    hidden = with_predictors(samples, hide)
    codes, _ = climate_codes(hidden)
    np.testing.assert_array_equal(codes == -1, np.arange(12) % 4 == 0)
    assert check_folds(hidden, make_folds(hidden, "logo")).empty
    constant = with_predictors(samples, lambda values: values.fill(1.0))
    assert climate_codes(constant)[1] == 0
    assert check_folds(constant, make_folds(constant, "logo")).empty
    bare = samples.drop_vars("predictors")
    assert check_folds(bare, make_folds(bare, "logo")).empty


def test_climate_that_is_all_zero_has_no_counterpart():
    """Clipped temperatures of cold years are equal wherever they were taken."""
    samples = grid("abc", range(2000, 2004))

    def clip(values):
        values[:, :4] = np.where(np.arange(12)[:, None] % 4 < 2, 0.0, values[:, :4])

    clipped = with_predictors(samples, clip)
    np.testing.assert_array_equal(climate_codes(clipped)[0] == -1, np.arange(12) % 4 < 2)
    assert check_folds(clipped, make_folds(clipped, "logo")).empty
    nothing = with_predictors(samples, lambda values: values[:, :4].fill(0.0))
    assert climate_codes(nothing)[1] == 0
    assert check_folds(nothing, make_folds(nothing, "logo")).empty


@pytest.mark.parametrize(
    ("ids", "names", "km", "pairs"),
    [
        (["RGI50-11.00897", "RGI60-11.00897"], None, None, 1),
        (["RGI60-11.00719_d01", "RGI60-11.00719_d02"], None, None, 1),
        (["RGI60-11.00897", "RGI60-11.00898"], None, None, 0),
        (["RGI2000-v7.0-G-11-00897", "RGI60-11.00897"], None, None, 0),
        (["853", "1511"], ["URUMQI GLACIER NO. 1", "URUMQI GLACIER NO. 1 E-BRANCH"], 1, 1),
        (["1511", "1512"], ["URUMQI GLACIER NO.1 E-BRANCH", "URUMQI GLACIER NO.1 W-BRANCH"], None, 1),
        (["853", "1511"], ["URUMQI GLACIER NO. 1", "URUMQI GLACIER NO. 1 E-BRANCH"], 50, 0),
        (["1", "2"], ["GLACIER NO. 354", "GLACIER NO. 356"], 1, 0),
        (["1", "2"], ["RHONE (TOTAL)", "Rhone"], 2, 1),
        (["1", "2"], ["DIKHADANG (NO.314)", "DIKHADANG (NO.315)"], 2, 0),
        (["1", "2"], ["SARY TOR", "SARY TOR"], 2, 0),  # equal names without a word for a part are no evidence
        (["1", "2"], ["", ""], 0.1, 0),
    ],
)
def test_glaciers_under_two_names_are_found_by_id_or_by_name(ids, names, km, pairs):
    years = range(2000, 2005)
    coords = {}
    if names:
        coords["name"] = np.repeat([*names, "OTHER ONE", "ANOTHER"], 5)
    if km is not None:
        coords |= {"longitude": np.repeat([80.0, 80 + km / 111.2, 90, 95], 5), "latitude": np.zeros(20)}
    samples = grid([*ids, "x", "y"], years, **coords)
    assert find_aliases(samples) == [tuple(sorted(ids))] * pairs
    found = check_folds(samples, make_folds(samples, "logo"))
    assert counts(found, BRANCH) == 10 * pairs
    assert counts(check_folds(samples, make_folds(samples, "both_out")), BRANCH) == 10 * pairs
    assert check_folds(samples, make_folds(samples, "loyo")).empty
    assert counts(check_folds(samples, make_folds(samples, "logo"), [("x", "y")]), BRANCH) == 10 * pairs + 10


def test_parent_and_branch_need_a_common_year():
    names = np.repeat(["KESSEL", "KESSEL E-BRANCH", "OTHER"], 3)
    samples = samples_of(
        np.repeat(["a", "b", "c"], 3), [2000, 2001, 2002, 2010, 2011, 2012, 2000, 2001, 2002], name=names
    )
    assert find_aliases(samples) == []


def test_neighbours_in_the_same_year_are_noted():
    east = np.repeat([80.0, 80.005, 80.1, 80.105], 3)
    samples = samples_of(np.repeat(list("abcd"), 3), [2000, 2001, 2002] * 3 + [2007, 2008, 2009],
                         longitude=east, latitude=np.zeros(12))  # fmt: skip
    found = check_folds(samples, make_folds(samples, "logo"))
    assert kinds(found) == {(NEIGHBOURS, "note")}
    assert found["fold"].tolist() == ["a", "b"]  # c and d were never measured in the same year
    assert counts(found, NEIGHBOURS) == 6


# ---- hashes, and what fits were given ----


def test_hashes_tell_contents_apart_and_copies_together():
    samples = grid("ab", range(2000, 2003))
    hashes = row_hashes(samples)
    assert len(set(hashes)) == 6
    wide = samples.assign(predictors=samples["predictors"].astype(np.float64))
    np.testing.assert_array_equal(row_hashes(wide), hashes)
    printed = samples.assign(predictors=samples["predictors"].copy(data=[
        [float(f"{v:.7g}") for v in row] for row in samples["predictors"].values]))  # fmt: skip
    assert (row_hashes(printed) == hashes).mean() > 0.8
    renamed = samples.assign_coords(glacier=("sample", list("uvwxyz")))
    np.testing.assert_array_equal(row_hashes(renamed), hashes)
    for name, row in (("mass_balance", 1), ("predictors", 4)):
        values = samples[name].values.copy()
        values[row] += 0.01
        changed = row_hashes(samples.assign({name: (samples[name].dims, values)}))
        assert np.flatnonzero(changed != hashes).tolist() == [row]
    later = samples.assign_coords(year=("sample", samples["year"].values + (np.arange(6) == 5)))
    assert np.flatnonzero(row_hashes(later) != hashes).tolist() == [5]
    zeros = samples.assign(predictors=samples["predictors"] * 0.0)
    minus = samples.assign(predictors=samples["predictors"] * -0.0)
    np.testing.assert_array_equal(row_hashes(zeros), row_hashes(minus))
    order = [5, 3, 1, 0, 2, 4]
    np.testing.assert_array_equal(row_hashes(samples.isel(sample=order, row=order).drop_dims("entry")), hashes[order])


def test_the_hash_of_a_sum_of_years_follows_every_year_of_it():
    samples = grid("ab", range(2000, 2003))
    operator = from_entries([0, 0, 1], [0, 1, 2], [1.0, 1.0, 1.0], rows=["p", "q"], size=6)
    pairs = samples.drop_dims(["sample", "entry"]).assign(mass_balance=("sample", [1.0, 2.0]))
    pairs = pairs.assign_coords(sample=["p", "q"], glacier=("sample", ["a", "a"]), year=("sample", [2001, 2002]))
    sums = with_operator(pairs, operator)
    hashes = row_hashes(sums)

    def change(row):
        return with_predictors(sums, lambda values: values[row].__iadd__(1))

    assert [(row_hashes(change(row)) != hashes).tolist() for row in (0, 1, 2, 3)] == [
        [True, False], [True, False], [False, True], [False, False],
    ]  # fmt: skip


def test_what_a_fit_was_given_is_checked():
    samples = grid("abc", range(2000, 2003))
    folds = make_folds(samples, "both_out")
    seen = folds.fit.copy()
    assert check_seen(folds, seen, row_hashes(samples)).empty
    seen[4, folds.score[4]] = True
    seen[5, 3] = True  # b:2000 in the fold of b:2002
    seen[6] = False
    found = check_seen(folds, xr.DataArray(seen, dims=("fold", "sample")))
    assert found[["fold", "kind", "severity", "detail"]].to_numpy().tolist() == [
        ["b:2001", "the fit was given a scored row", "leak", "b:2001:4"],
        ["b:2002", "the fit was given a withheld row", "leak", "b:2000:3"],
        ["c:2000", "the fit was given nothing", "note", ""],
    ]
    hashes = row_hashes(samples)
    hashes[8] = hashes[0]  # c:2002 is a copy of a:2000
    found = check_seen(folds, folds.fit, hashes)
    assert kinds(found) == {("the fit was given a copy of a scored row", "leak")}
    assert found["fold"].tolist() == ["a:2000", "c:2002"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_twenty_thousand_rows_are_checked(scheme):
    rng = np.random.default_rng(0)
    glacier = rng.integers(0, 500, 20_000)
    samples = samples_of(glacier, 1970 + rng.integers(0, 50, 20_000), longitude=60 + 0.1 * glacier,
                         latitude=30 + (7 * glacier % 50) / 5, region=[f"r{g // 50}" for g in glacier])  # fmt: skip
    found = check_folds(samples, make_folds(samples, scheme, targets=TARGETS))
    assert found[found["severity"] == "leak"].empty == (scheme != "random")
