"""Folds: what each scheme withholds, and that inner splits repeat the outer kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from glacmb_grid.errors import InputError
from glacmb_grid.folds.rows import groups_of
from glacmb_grid.folds.schemes import SCHEMES, WITHHELD, join_folds, make_folds, of_scheme, require_grouped
from glacmb_grid.folds.space import nearest_km, spatial_clusters, unit_vectors

BASIC = ("logo", "loyo", "both_out")


def samples_of(pairs, **coords):
    glacier, year = zip(*pairs, strict=True)
    return xr.Dataset(
        coords={
            "sample": [f"{g}:{y}:{i}" for i, (g, y) in enumerate(pairs)],
            "glacier": ("sample", np.array(glacier, dtype=object)),
            "year": ("sample", np.array(year)),
            **{name: ("sample", np.array(values)) for name, values in coords.items()},
        }
    )


def grid(glaciers, years, **coords):
    return samples_of([(g, y) for g in glaciers for y in years], **coords)


def many(rows, glaciers, years, seed=0):
    """A table with regions of five glaciers, cells of two, and several rows for some glacier-years."""
    rng = np.random.default_rng(seed)
    glacier, year = rng.integers(0, glaciers, rows), 1970 + rng.integers(0, years, rows)
    east, north = rng.uniform(60, 110, glaciers), rng.uniform(27, 45, glaciers)
    return samples_of(
        list(zip([f"g{i:04d}" for i in glacier], year.tolist(), strict=True)),
        group=[f"c{i // 2}" for i in glacier],
        region=[f"r{i // 5}" for i in glacier],
        longitude=east[glacier],
        latitude=north[glacier],
    )


def predicted(east=(60.0, 110.0), north=(27.0, 45.0), steps=8):
    """Glaciers to be predicted, on a lattice of positions."""
    places = np.stack([a.ravel() for a in np.meshgrid(np.linspace(*east, steps), np.linspace(*north, steps))])
    return pd.DataFrame(places.T, columns=["longitude", "latitude"]).rename(index=lambda i: f"predicted {i}")


TARGETS = predicted()


def masks(folds):
    return folds.fit, folds.score, folds.inner_fit, folds.inner_score


def test_each_scheme_withholds_what_its_name_says():
    samples = grid("ab", [2001, 2002])
    glacier, year = samples["glacier"].values, samples["year"].values
    logo = make_folds(samples, "logo")
    assert list(logo.name) == ["a", "b"]
    np.testing.assert_array_equal(logo.fit[0], glacier == "b")
    np.testing.assert_array_equal(logo.score[0], glacier == "a")
    loyo = make_folds(samples, "loyo")
    np.testing.assert_array_equal(loyo.score[1], year == 2002)
    both = make_folds(samples, "both_out")
    assert both.name[0] == "a:2001"
    np.testing.assert_array_equal(both.score[0], (glacier == "a") & (year == 2001))
    np.testing.assert_array_equal(both.fit[0], (glacier == "b") & (year == 2002))


pairs = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(2000, 2006)), min_size=4, max_size=25, unique=True)


@given(pairs, st.sampled_from(BASIC), st.integers(2, 6))
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
    fit, score = folds.fit, folds.score
    assert (score.sum(axis=0) == 1).all()
    for i, s in enumerate(score.argmax(axis=0)):
        np.testing.assert_array_equal(fit[s], ~withheld[i])


rows = st.tuples(
    st.integers(0, 7), st.integers(2000, 2006), st.integers(0, 9), st.sampled_from(["x", "y", "z", ""]), st.booleans()
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(rows, min_size=1, max_size=40),
    st.sampled_from(SCHEMES),
    st.integers(1, 6),
    st.integers(1, 12),
    st.integers(2, 6),
)
def test_in_every_scheme_what_belongs_together_stays_on_one_side(table, scheme, inner, blocks, parts):
    """Groups that cut through glaciers, several rows for a glacier-year, blank regions and locked rows included."""
    glacier, year, group, region, locked = (np.array(column) for column in zip(*table, strict=True))
    samples = samples_of(
        list(zip(glacier.astype(str), year, strict=True)),
        group=group.astype(str), region=region, longitude=80.0 + glacier, latitude=40.0 + glacier % 3,
    )  # fmt: skip
    try:
        folds = make_folds(
            samples,
            scheme,
            inner=inner,
            blocks=blocks,
            parts=parts,
            buffer_km=1,
            locked=locked,
            targets=TARGETS,
        )
    except InputError as error:
        assert "left to fit on" in str(error)  # noqa: PT017 - the other outcome is folds
        return
    fit, score, inner_fit, inner_score = masks(folds)
    usable = ~locked & ((region != "") | (scheme != "leave_region_out"))
    np.testing.assert_array_equal(score.sum(axis=0), usable)
    assert not (fit | score)[:, ~usable].any()
    assert fit.any(axis=1).all()
    assert inner_fit.any(axis=2).all()
    assert inner_score.any(axis=2).all()
    assert not ((inner_fit | inner_score) & ~fit[:, None]).any()
    unit = np.char.add(np.char.add(glacier.astype(str), ":"), year.astype(str))
    apart = {"logo": [group, glacier], "logo_own_geodetic": [group, glacier], "loyo": [year],
             "both_out": [group, glacier, year],
             "blocks": [group, glacier], "leave_region_out": [region, group, glacier],
             "domain": [group, glacier]}.get(scheme, [])  # fmt: skip
    for f, s in zip(fit, score, strict=True):
        for label in [*apart, unit]:
            assert not set(label[f]) & set(label[s])
    for f, s, outer in zip(inner_fit.reshape(-1, len(unit)), inner_score.reshape(-1, len(unit)),
                           fit.repeat(inner, axis=0), strict=True):  # fmt: skip
        if len(set(unit[outer])) > 1 and (f != s).any():
            assert not set(unit[f]) & set(unit[s])
    for block in np.unique(folds.block):
        own = np.flatnonzero(folds.block == block)
        assert (inner_fit[own] == inner_fit[own[0]]).all()
        assert (inner_score[own] == inner_score[own[0]]).all()
        assert not ((inner_fit | inner_score)[own[0]] & ~fit[own].all(axis=0)).any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_said_of_a_scheme_is_what_its_folds_withhold(scheme):
    samples = many(600, 40, 20)
    fit, score, *_ = masks(make_folds(samples, scheme, targets=TARGETS))

    def apart(name):
        of = samples[name].values
        return all(not set(of[f]) & set(of[s]) for f, s in zip(fit, score, strict=True))

    assert {n for n in ("glacier", "year") if apart(n)} == WITHHELD[scheme]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_inner_splits_repeat_the_outer_kind(scheme):
    samples = many(600, 40, 20)
    labels = {n: samples[n].values for n in ("glacier", "group", "year", "region")}
    apart = {"logo": ["glacier", "group"], "logo_own_geodetic": ["glacier", "group"], "loyo": ["year"],
             "both_out": ["glacier", "group", "year"],
             "blocks": ["glacier", "group"], "leave_region_out": ["glacier", "region"],
             "domain": ["glacier", "group"]}.get(scheme, [])  # fmt: skip
    folds = make_folds(samples, scheme, inner=4, targets=TARGETS)
    _, _, inner_fit, inner_score = masks(folds)
    for fit, score in zip(inner_fit.reshape(-1, 600), inner_score.reshape(-1, 600), strict=True):
        for name in apart:
            assert not set(labels[name][fit]) & set(labels[name][score])
    if scheme in (
        "logo",
        "logo_own_geodetic",
        "loyo",
        "random",
    ):  # every row that may be used for tuning is scored once
        same = folds.block[:, None] == folds.block
        common = np.array([folds.fit[s].all(axis=0) for s in same])
        np.testing.assert_array_equal(inner_score.sum(axis=1), common)


def test_folds_share_tuning_blocks_within_what_all_of_them_fit_on():
    samples = many(900, 60, 40)
    for scheme, most in (("logo", 10), ("loyo", 10), ("both_out", 25), ("blocks", 10), ("random", 10)):
        folds = make_folds(samples, scheme)
        _, numbers = np.unique(folds.block, return_inverse=True)
        assert numbers.max() + 1 == most
        rows = np.bincount(numbers, folds.score.sum(axis=1))
        assert rows.max() < 3 * rows.min()
    few = make_folds(grid("abcde", range(2000, 2010)), "logo", blocks=5)
    assert len(few.blocks) == 5  # strictly nested
    one = make_folds(grid("abcd", range(2000, 2010)), "logo", blocks=1)
    assert len(one.blocks) == 4  # no row is common to all: each fold by itself
    three = make_folds(grid("abc", range(1982, 2019)), "both_out", parts=30)
    assert len(three) == 111
    assert len(three.blocks) == 15


def test_many_groups_are_dealt_whole_and_evenly():
    samples = many(3000, 400, 60)
    group = samples["group"].values
    folds = make_folds(samples, "logo")
    score = folds.score
    assert len(score) == 30
    rows = score.sum(axis=1)
    assert rows.max() <= rows.min() + np.unique(group, return_counts=True)[1].min() + 5
    assert all(len({int(f) for f in score[:, group == g].argmax(axis=0)}) == 1 for g in np.unique(group))
    names = folds.name.tolist()
    assert len(set(names)) == 30
    assert all(" and 5 more" in n or " and 6 more" in n or " and 7 more" in n for n in names), names
    assert len(make_folds(samples, "loyo", parts=7)) == 7
    assert len(make_folds(samples, "loyo", parts=99)) == 60
    assert len(make_folds(samples, "both_out", parts=6)) == 36


def test_masks_depend_on_the_labels_of_rows_only():
    """Neither on values nor on the order of rows."""
    samples = many(200, 30, 12)
    rng = np.random.default_rng(0)
    changed = samples.assign(mass_balance=("sample", rng.normal(size=200)), predictors=("sample", rng.normal(size=200)))
    order = rng.permutation(200)
    for scheme in SCHEMES:
        folds = make_folds(samples, scheme, targets=TARGETS).to_dataset()
        xr.testing.assert_identical(folds, make_folds(changed, scheme, targets=TARGETS).to_dataset())
        if scheme != "blocks":  # there the last bit of a mean position may differ
            other = make_folds(samples.isel(sample=order), scheme, targets=TARGETS).to_dataset()
            xr.testing.assert_identical(folds.isel(sample=order), other)
        if scheme not in ("blocks", "leave_region_out", "domain"):  # with few regions there is nothing to deal
            assert not folds.equals(make_folds(samples, scheme, seed=2, targets=TARGETS).to_dataset()), scheme


def test_with_two_glaciers_the_inner_split_withholds_years():
    folds = make_folds(grid("ab", range(2000, 2010)), "logo", inner=3)
    years = np.array([int(s.split(":")[1]) for s in folds.sample])
    for fit, score in zip(folds.inner_fit[0], folds.inner_score[0], strict=True):
        assert not set(years[fit]) & set(years[score])


def test_the_inner_splits_of_both_out_reach_every_group_and_year():
    samples = grid("abcdefghij", range(2000, 2010))
    folds = make_folds(samples, "both_out", inner=5, blocks=4)
    glacier, year = samples["glacier"].values, samples["year"].values
    score = folds.inner_score
    for fold in range(len(folds)):
        held = score[fold].any(axis=0)
        common = folds.fit[folds.block == folds.block[fold]].all(axis=0)
        assert set(glacier[held]) == set(glacier[common])
        assert set(year[held]) == set(year[common])


def test_one_glacier_cannot_be_left_out():
    with pytest.raises(InputError, match="left to fit on"):
        make_folds(grid("a", range(2000, 2006)), "logo")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "pairs", [[("a", 1), ("b", 2), ("c", 3)], [("a", 1), ("a", 2), ("a", 3)], [("a", 1)] * 3, [("a", 1), ("b", 1)]]
)
def test_a_handful_of_rows_gives_folds_or_a_clear_refusal(scheme, pairs):
    samples = samples_of(
        pairs, region=[g for g, _ in pairs], longitude=[90.0] * len(pairs), latitude=[ord(g) - 60.0 for g, _ in pairs]
    )
    needs = {
        "logo": [0],
        "logo_own_geodetic": [0],
        "blocks": [0],
        "leave_region_out": [0],
        "domain": [0],
        "loyo": [1],
        "both_out": [0, 1],
        "random": [],
    }[scheme]
    enough = all(len({p[i] for p in pairs}) > 1 for i in needs) and len(set(pairs)) > 1
    if not enough:
        with pytest.raises(InputError, match="left to fit on"):
            make_folds(samples, scheme, targets=TARGETS)
        return
    fit, score, inner_fit, _ = masks(make_folds(samples, scheme, targets=TARGETS))
    assert (score.sum(axis=0) == 1).all()
    assert fit.any(axis=1).all()
    assert inner_fit.any(axis=2).all()


def test_an_unknown_scheme_is_named():
    with pytest.raises(ValueError, match="unknown scheme 'loco'"):
        make_folds(grid("ab", [2000, 2001]), "loco")


# ---- groups and the user's own folds ----


def test_logo_leaves_out_the_group_and_where_it_is_blank_the_glacier():
    samples = samples_of([("a", 1), ("b", 1), ("c", 1), ("d", 1)], group=["cell", "cell", "", "nan"])
    assert groups_of(samples).tolist() == ["cell", "cell", "c", "d"]
    folds = make_folds(samples, "logo")
    assert folds.name.tolist() == ["c", "cell", "d"]
    assert folds.score[1].tolist() == [True, True, False, False]


def test_a_glacier_in_two_groups_is_withheld_whole():
    samples = samples_of([("a", 1), ("a", 2), ("b", 1), ("c", 2)], group=["x", "y", "y", "z"])
    folds = make_folds(samples, "logo")
    assert folds.name.tolist() == ["x", "y", "z"]
    assert folds.fit[0].tolist() == [False, False, True, True]
    assert folds.score[0].tolist() == [True, False, False, False]


def test_the_users_folds_are_taken_as_they_are():
    years = range(2000, 2004)
    samples = grid("abcd", years, fold_logo=np.repeat([10.0, 2.0, 2.0, 10.0], 4), fold_loyo=np.tile([1, 1, 1, 0], 4))
    logo, loyo, both = (make_folds(samples, s, parts=2) for s in BASIC)
    assert logo.name.tolist() == ["2", "10"]
    np.testing.assert_array_equal(logo.score, samples["fold_logo"].values == np.array([[2], [10]]))
    assert loyo.score.sum(axis=1).tolist() == [4, 12]
    assert both.name.tolist() == ["2:0", "2:1", "10:0", "10:1"]
    np.testing.assert_array_equal(both.fit[1], (samples["fold_logo"].values != 2) & (samples["fold_loyo"].values != 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold_logo": [1, 2, 2, 2, 3, 3]}, "group a in the folds 1, 2"),
        ({"fold_loyo": [1, 2, 1, 2, 1, 1]}, "year 2001 in the folds 1, 2"),
        ({"group": ["u", "u", "u", "u", "v", "v"], "fold_logo": [1, 1, 2, 2, 3, 3]}, "group u in the folds 1, 2"),
        ({"fold_logo": [1, 1, 2, 2, np.nan, np.nan]}, "2 blank of 6 rows"),
    ],
)
def test_a_users_fold_that_splits_something_is_refused(change, message):
    samples = grid("abc", [2000, 2001], **change)
    with pytest.raises(InputError, match=message):
        make_folds(samples, "both_out")


# ---- space ----


def test_distance_by_hand():
    corner = samples_of([("a", 1), ("b", 1), ("c", 1)], longitude=[0.0, 90.0, 359.0], latitude=[0.0, 0.0, 0.0])
    xyz = unit_vectors(corner)
    assert nearest_km(xyz[:1], xyz[1:2])[0] == pytest.approx(np.pi / 2 * 6371.007181)
    assert nearest_km(xyz[:1], xyz)[0] == 0
    assert nearest_km(xyz[:1], xyz[1:])[0] == pytest.approx(np.pi / 180 * 6371.007181)
    assert nearest_km(xyz, xyz[:0]).tolist() == [np.inf] * 3


def test_clusters_are_the_obvious_ones_and_keep_groups_whole():
    rng = np.random.default_rng(1)
    centre = np.repeat([0, 1, 2], 20)
    samples = samples_of(
        [(f"g{i}", 1) for i in range(60)],
        longitude=np.array([10.0, 80.0, 250.0])[centre] + rng.normal(0, 1, 60),
        latitude=np.array([45.0, 35.0, 60.0])[centre] + rng.normal(0, 1, 60),
    )
    part = spatial_clusters(unit_vectors(samples), np.arange(60), 3)
    assert len({(c, p) for c, p in zip(centre.tolist(), part.tolist(), strict=True)}) == 3
    whole = spatial_clusters(unit_vectors(samples), np.arange(60) % 7, 3)
    assert all(len(set(whole[np.arange(60) % 7 == g])) == 1 for g in range(7))
    assert spatial_clusters(unit_vectors(samples)[:2], np.array([5, 9]), 9).tolist() in ([0, 1], [1, 0])


def test_blocks_withhold_all_groups_with_a_member_in_the_buffer():
    # along the equator, degrees; 1 degree is 111 km. Group q has a member at 3 and one at 9.
    east = {"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0, "e": 9.0, "f": 10.0, "g": 11.0}
    group = {"d": "q", "e": "q"}
    names = [g for g in east for _ in (2000, 2001)]
    samples = grid(
        east,
        [2000, 2001],
        longitude=[east[g] for g in names],
        latitude=[0.0] * 14,
        group=[group.get(g, g) for g in names],
    )
    glacier = samples["glacier"].values
    for buffer in (50.0, 120.0):
        folds = make_folds(samples, "blocks", parts=2, buffer_km=buffer)
        assert folds.buffer_km.tolist() == [buffer] * 2
        for fit, score in zip(*masks(folds)[:2], strict=True):
            inside = set(glacier[score])
            near = {g for g in east if any(abs(east[g] - east[h]) * 111.2 <= buffer for h in inside)}
            near |= {"d", "e"} if near & {"d", "e"} else set()
            assert set(glacier[fit]) == set(east) - near - inside
    wide = make_folds(samples, "blocks", parts=2)  # by default the buffer leaves half of what is not scored
    assert wide.buffer_km[0] == 100
    assert (2 * wide.fit.sum(axis=1) >= (~wide.score).sum(axis=1)).all()
    with pytest.raises(InputError, match=r"narrow `validation\.buffer_km`"):
        make_folds(samples, "blocks", buffer_km=5000)


def test_the_default_buffer_shrinks_until_something_is_left():
    east = 10 + 0.05 * np.arange(6)  # 5.6 km steps at the equator
    samples = grid("abcdef", [2000, 2001], longitude=east.repeat(2), latitude=np.zeros(12))
    folds = make_folds(samples, "blocks")
    assert len(folds) == 6
    # ends have 5 others, so 3 must stay: two steps may go; inner ones lose four at two steps, so one step it is
    assert folds.buffer_km[0] == 6.25
    assert folds.fit.sum(axis=1).tolist() == [8, 6, 6, 6, 6, 8]


@pytest.mark.parametrize(("scheme", "column"), [("blocks", "longitude, latitude"), ("leave_region_out", "region")])
def test_a_scheme_without_its_coordinate_says_which(scheme, column):
    samples = grid("abc", [2000, 2001])
    with pytest.raises(InputError, match=f"samples: {column}"):
        make_folds(samples, scheme)
    nan = samples.assign_coords(longitude=("sample", np.full(6, np.nan)), latitude=("sample", np.zeros(6)))
    with pytest.raises(InputError, match="none for 6 of 6"):
        make_folds(nan, "blocks")


def test_positions_may_come_with_the_rows():
    samples = grid("ab", [2000, 2001]).assign_coords(
        row_longitude=("row", [10.0, 20.0]), row_latitude=("row", [0.0, 0.0])
    )
    samples = samples.assign(operator_sample=("entry", [0, 1, 2, 3]), operator_row=("entry", [1, 1, 0, 0]))
    np.testing.assert_allclose(np.degrees(np.arctan2(*unit_vectors(samples).T[1::-1])), [20, 20, 10, 10])


def test_a_group_that_reaches_into_the_region_is_withheld_with_it():
    samples = samples_of(
        [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)], region=["x", "y", "y", "z", ""], group=list("ppqrs")
    )
    folds = make_folds(samples, "leave_region_out")
    assert folds.name.tolist() == ["x", "y", "z"]
    assert folds.fit[0].tolist() == [False, False, True, True, False]
    assert folds.score.sum(axis=0).tolist() == [1, 1, 1, 1, 0]  # of e nothing is known


def test_locked_rows_are_in_no_mask():
    samples = many(300, 30, 10)
    locked = np.isin(samples["group"].values, ["c1", "c5"])
    for scheme in SCHEMES:
        folds = make_folds(samples, scheme, locked=locked, targets=TARGETS)
        assert not any(m[..., locked].any() for m in masks(folds))
        free = make_folds(samples.isel(sample=np.flatnonzero(~locked)), scheme, targets=TARGETS)
        own = folds.to_dataset().isel(sample=np.flatnonzero(~locked))
        xr.testing.assert_identical(own, free.to_dataset())
    with pytest.raises(InputError, match="no observation that it can use"):
        make_folds(samples, "logo", locked=np.ones(300, bool))


# ---- many at once ----


def test_joined_folds_come_apart_again():
    samples = many(80, 12, 8)
    apart = [make_folds(samples, s, targets=TARGETS) for s in SCHEMES]
    joined = join_folds(apart)
    for scheme, folds in zip(SCHEMES, apart, strict=True):
        xr.testing.assert_identical(of_scheme(joined, scheme).to_dataset(), folds.to_dataset())
    assert len(joined.blocks) == sum(len(f.blocks) for f in apart)
    twice = join_folds([apart[0], apart[5], make_folds(samples, "random", seed=2)])
    assert len(twice.blocks) == sum(len(apart[i].blocks) for i in (0, 5, 5))


def test_random_is_never_shown_alone():
    require_grouped(["random", "loyo"])
    require_grouped(["leave_region_out"])
    require_grouped(["random", "domain"])
    for alone in (["random"], ["random", "leave_region_out"]):
        with pytest.raises(InputError, match="only together with folds"):
            require_grouped(alone)


def test_twenty_thousand_rows_are_feasible():
    samples = many(20_000, 2000, 50)
    for scheme in SCHEMES:
        folds = make_folds(samples, scheme, targets=TARGETS)
        assert len(folds) <= 14**2
        assert folds.score.sum() == 20_000
        assert folds.inner_fit.any(axis=2).all()


def test_inner_splits_keep_glaciers_whole_where_groups_cut_through_them():
    samples = many(600, 30, 12)
    cut = samples.assign_coords(group=("sample", [f"{g}.{i % 2}" for i, g in enumerate(samples["glacier"].values)]))
    glacier = cut["glacier"].values
    for scheme in ("logo", "both_out", "blocks"):
        folds = make_folds(cut, scheme, buffer_km=0)
        for fit, score in zip(folds.inner_fit.reshape(-1, 600), folds.inner_score.reshape(-1, 600), strict=True):
            assert not set(glacier[fit]) & set(glacier[score]), scheme


def test_inner_blocks_have_the_buffer_too():
    number = np.repeat(np.arange(60), 2)
    samples = grid(
        [f"g{i:02d}" for i in range(60)], [2000, 2001], longitude=60 + 0.5 * number, latitude=np.zeros(120)
    )  # 56 km steps
    xyz = unit_vectors(samples)
    folds = make_folds(samples, "blocks", parts=5, buffer_km=100)
    for fit, score in zip(folds.inner_fit.reshape(-1, 120), folds.inner_score.reshape(-1, 120), strict=True):
        assert nearest_km(xyz[fit], xyz[score]).min() > 100
