"""Geodetic rates as constraints: their operator by hand, and which folds may look at them against plain loops."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import glacmb_grid as gg
from glacmb_grid import sphere
from glacmb_grid.constraints import BEYOND, FAILED, TWICE, UNCERTAIN
from glacmb_grid.errors import InputError
from glacmb_grid.folds.constraints import OWN, allowed_constraints
from glacmb_grid.folds.schemes import SCHEMES, make_folds
from glacmb_grid.schemas import CONSTRAINTS, check

YEARS = (2000, 2012)


def rates_of(*lines):
    """Lines of glacier, begin, end, rate, uncertainty."""
    return pd.DataFrame(lines, columns=["glacier", "begin", "end", "rate", "uncertainty"]).assign(
        site=[line[0] for line in lines], link="exact", source=""
    )


@pytest.fixture(scope="module")
def predictors(toys):
    return toys.predictors(glaciers=8, years=YEARS)


# ---- what a constraint is ----


def test_partial_years_by_hand(predictors):
    """1 March 2000 to 1 September 2010, in years that begin in October; 2000 and 2004 and 2008 are leap years."""
    made, outside = gg.build_constraints(predictors, rates_of(("G03", "2000-03-01", "2010-09-01", -0.5, 0.1)))
    check(made, CONSTRAINTS)
    assert outside.empty
    weight = made["operator_weight"].values
    np.testing.assert_array_equal(made["row_year"].values[made["operator_row"].values], np.arange(2000, 2011))
    first = 31 + 30 + 31 + 30 + 31 + 31 + 30  # March to September
    last = 31 + 30 + 31 + 31 + 28 + 31 + 30 + 31 + 30 + 31 + 31  # October to August
    np.testing.assert_allclose(weight, [first / 366, *[1.0] * 9, last / 365], rtol=1e-15)
    assert made["change"].item() == pytest.approx(-0.5 * weight.sum(), rel=1e-12)
    assert made["change_uncertainty"].item() == pytest.approx(0.1 * weight.sum(), rel=1e-12)
    own = predictors["predictors"].sel(glacier="G03", year=slice(2000, 2010)).values
    np.testing.assert_array_equal(made["predictors"].values, own)
    assert made["predictors"].dtype == np.float32
    assert set(made["row_glacier"].values) == {"G03"}
    for name in ("longitude", "latitude"):
        assert made[name].item() == predictors[name].sel(glacier="G03").item()


def test_rows_are_shared_by_periods_that_meet_in_a_year(predictors):
    """Some glaciers read at a time, in chunks: the same."""
    lines = [
        (f"G{g:02d}", f"{a}-01-01", f"{b}-01-01", -0.1 * g, 0.2)
        for g in (5, 1, 6)
        for a, b in ((2000, 2005), (2005, 2010))
    ]
    made, _ = gg.build_constraints(predictors, rates_of(*lines))
    assert made.sizes["constraint"] == 6
    assert made.sizes["row"] == 3 * 11
    pairs = set(zip(made["row_glacier"].values, made["row_year"].values, strict=True))
    assert len(pairs) == made.sizes["row"]
    for number, (glacier, begin, *_) in enumerate(lines):
        mine = made["operator_row"].values[made["operator_constraint"].values == number]
        assert set(made["row_glacier"].values[mine]) == {glacier}
        assert made["row_year"].values[mine].tolist() == list(range(int(begin[:4]), int(begin[:4]) + 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glacmb_grid.constraints._BLOCK", 2)
        again, _ = gg.build_constraints(predictors.chunk(glacier=3), rates_of(*lines))
    assert again.identical(made)


def test_no_day_of_a_glacier_counts_twice(predictors):
    """The longest cover, then the most rates, then the most certain; other glaciers do not matter."""
    lines = [
        ("G01", "2000-01-01", "2010-01-01", -1.0, 0.1),
        ("G01", "2000-01-01", "2005-01-01", -0.8, 0.3),
        ("G01", "2005-01-01", "2010-01-01", -1.2, 0.3),
        ("G02", "2000-01-01", "2010-01-01", -1.0, 0.1),
        ("G02", "2000-01-01", "2005-01-01", -0.8, 0.3),
        ("G03", "2002-01-01", "2004-01-01", -0.8, 0.3),
        ("G03", "2002-01-01", "2004-01-01", -0.9, 0.2),
        ("G04", "2002-01-01", "2006-01-01", -0.9, 0.2),
        ("G04", "2005-12-31", "2008-01-01", -0.9, 0.2),
    ]
    made, outside = gg.build_constraints(predictors, rates_of(*lines))
    assert outside.index.tolist() == [0, 4, 5, 8]
    assert set(outside["reason"]) == {TWICE}
    assert made["change_uncertainty"].values[3] == pytest.approx(0.2 * 2, rel=0.01)


def test_what_cannot_be_a_constraint_is_named(predictors):
    lines = [
        ("G01", "2000-01-01", "2010-01-01", -1.0, np.nan),
        ("nobody", "2000-01-01", "2010-01-01", -1.0, 0.1),
        ("G01", "1999-09-30", "2010-01-01", -1.0, 0.1),
        ("G01", "2001-01-01", "2010-01-01", -1.0, 0.1),
    ]
    made, outside = gg.build_constraints(predictors, rates_of(*lines))
    assert outside["reason"].tolist() == [UNCERTAIN, FAILED, BEYOND]
    assert made["constraint"].values.tolist() == ["G01:2001-01-01:2010-01-01"]
    with pytest.raises(InputError, match="none of them such"):
        gg.build_constraints(predictors, rates_of(*lines[:3]))


# ---- which folds may look at one ----


def place_of(number):
    return 70 + 0.7 * (number % 7) + 0.01 * number, 30 + 0.9 * (number // 7)


@pytest.fixture(scope="module")
def table(toys):
    """Samples of twelve glaciers in groups of two, and rates of these and of eight more, of which two have groups."""
    rng = np.random.default_rng(4)
    pairs = [(g, y) for g in range(12) for y in range(2000, 2012) if rng.random() < 0.5]
    glacier, year = np.array(pairs).T
    longitude, latitude = place_of(glacier)
    samples = toys.table(
        rng.normal(size=(len(pairs), 2)), rng.normal(size=len(pairs)), [f"G{g:02d}" for g in glacier], year,
        longitude=longitude, latitude=latitude, group=np.array([f"C{g // 2}" for g in glacier], object),
        region=np.array([f"R{g // 4}" for g in glacier], object),
    )  # fmt: skip
    every = toys.predictors(glaciers=20, years=YEARS)
    longitude, latitude = place_of(np.arange(20))
    every = every.assign_coords(longitude=("glacier", longitude), latitude=("glacier", latitude))
    spans = [("2000-01-01", "2005-01-01"), ("2005-01-01", "2008-03-01"), ("2008-03-01", "2012-05-01")]
    lines = [(f"G{g:02d}", *spans[s], -0.5, 0.1) for g in range(20) for s in range(3) if (g + s) % 4]
    made, _ = gg.build_constraints(every, rates_of(*lines))
    number = np.array([int(g[1:]) for g in made["glacier"].values])
    group = np.where(number == 13, "C2", np.where(number == 14, "C5", ""))
    region = np.where(number < 12, [f"R{g // 4}" for g in number], np.where(number == 15, "R1", ""))
    texts = {"group": ("constraint", group.astype(object)), "region": ("constraint", region.astype(object))}
    return samples, made.assign_coords(texts)


def km(one, other):
    a, b = (sphere.unit_vectors(np.array([p[0]]), np.array([p[1]])) for p in (one, other))
    return float(sphere.arc_km(np.linalg.norm(a - b, axis=1))[0])


def told(samples, constraints, scheme, fit, score, buffer_km):
    """Plain loops over all constraints and samples: which may be looked at."""
    rows = [
        {"glacier": g, "group": c, "region": r, "year": int(y), "place": (x, z), "fit": f, "score": s}
        for g, c, r, y, x, z, f, s in zip(
            *(samples[n].values for n in ("glacier", "group", "region", "year", "longitude", "latitude")), fit, score,
            strict=True,
        )
    ]  # fmt: skip
    out = []
    for number in range(constraints.sizes["constraint"]):
        one = constraints.isel(constraint=number)
        glacier, group, region = (str(one[n].item()) for n in ("glacier", "group", "region"))
        place = float(one["longitude"]), float(one["latitude"])
        mine = [r for r in rows if r["glacier"] == glacier]
        used = {"fit"} if scheme not in ("loyo", "random", OWN) else {"fit", "score"}
        allowed = not mine or any(r[u] for r in mine for u in used)
        begin, end = one["begin"].values, one["end"].values
        for r in rows:
            if not r["score"]:
                continue
            first, after = (np.datetime64(f"{r['year'] - 1 + i}-10-01") for i in (0, 1))
            contained = begin < after and end > first
            relatives = [o["group"] for o in mine] + [group]
            if scheme in ("logo", "both_out", "blocks", "leave_region_out", "domain"):
                allowed &= r["glacier"] != glacier and r["group"] not in relatives
            if scheme in ("loyo", "both_out"):
                allowed &= not contained
            if scheme == "random":
                allowed &= not (contained and r["glacier"] == glacier)
            if scheme == "blocks":
                allowed &= km(place, r["place"]) > buffer_km
            if scheme == "leave_region_out" and region:
                allowed &= r["region"] != region
        if not mine and (scheme == "blocks" or (scheme == "leave_region_out" and not region)):
            nearest = min(rows, key=lambda r: km(place, r["place"]))
            allowed &= bool(nearest["fit"])
        out.append(bool(allowed))
    return np.array(out)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rates_are_withheld_as_the_scheme_says(scheme, table, toys):
    samples, constraints = table
    locked = samples["group"].values == "C4"
    targets = pd.DataFrame({"longitude": place_of(np.arange(20))[0], "latitude": place_of(np.arange(20))[1]})
    options = {"inner": 3, "parts": 5, "blocks": 2, "locked": locked, "targets": targets, "buffer_km": 80.0}
    folds = make_folds(samples, scheme, **options)
    allowed = allowed_constraints(folds, samples, constraints)
    assert allowed.fit.shape == (len(folds), constraints.sizes["constraint"])
    assert allowed.fit.any()
    for fold in range(len(folds)):
        expected = told(samples, constraints, scheme, folds.fit[fold], folds.score[fold], folds.buffer_km[fold])
        np.testing.assert_array_equal(allowed.fit[fold], expected)
    of_locked = np.isin(constraints["glacier"].values, samples["glacier"].values[locked])
    assert not allowed.fit[:, of_locked].any()
    for block in folds.blocks:
        shared = allowed.fit[block].all(axis=0)
        for i in range(folds.inner):
            masks = folds.inner_fit[block[0], i], folds.inner_score[block[0], i]
            expected = told(samples, constraints, scheme, *masks, folds.buffer_km[block[0]]) & shared
            for fold in block:
                np.testing.assert_array_equal(allowed.inner[fold, i], expected)


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != OWN])
def test_no_rate_tells_of_what_is_scored(scheme, table):
    """Said once more without the rules: none of a scored glacier-year, whole folds and inner splits alike."""
    samples, constraints = table
    targets = pd.DataFrame({"longitude": [71.0, 72.0], "latitude": [31.0, 32.0]})
    folds = make_folds(samples, scheme, inner=2, parts=4, targets=targets)
    allowed = allowed_constraints(folds, samples, constraints)
    entries = constraints["operator_constraint"].values
    years = constraints["row_year"].values[constraints["operator_row"].values]
    told = {(c, constraints["glacier"].values[c], y) for c, y in zip(entries, years, strict=True)}
    pairs = list(zip(samples["glacier"].values, samples["year"].values, strict=True))
    for fold in range(len(folds)):
        for usable, score in [
            (allowed.fit[fold], folds.score[fold]),
            *zip(allowed.inner[fold], folds.inner_score[fold], strict=True),
        ]:
            scored = {pairs[i] for i in np.flatnonzero(score)}
            assert not {(g, y) for c, g, y in told if usable[c]} & scored


def test_one_fold_alone_is_withheld_from_as_among_all(table):
    samples, constraints = table
    for scheme in ("logo", "loyo", "both_out"):
        folds = make_folds(samples, scheme, inner=2)
        whole = allowed_constraints(folds, samples, constraints).fit
        for fold in range(0, len(folds), 3):
            alone = allowed_constraints(folds.take([fold]), samples, constraints).fit
            np.testing.assert_array_equal(alone[0], whole[fold])


def test_the_scheme_with_own_rates_has_the_folds_of_logo(table):
    samples, constraints = table
    logo, own = (make_folds(samples, s, inner=3, parts=4, blocks=2) for s in ("logo", OWN))
    for name in ("fit", "score", "inner_fit", "inner_score", "name"):
        np.testing.assert_array_equal(getattr(logo, name), getattr(own, name))
    assert not set(logo.block) & set(own.block)
    assert set(own.scheme) == {OWN}
    assert allowed_constraints(own, samples, constraints).fit.all()
    kept = allowed_constraints(logo, samples, constraints).fit
    assert not kept.all(axis=1).any()


def test_values_decide_nothing(table):
    samples, constraints = table
    rng = np.random.default_rng(0)
    other = constraints.assign(
        change=constraints["change"] + rng.normal(size=constraints.sizes["constraint"]),
        predictors=constraints["predictors"] * 3,
    )
    folds = make_folds(samples, "both_out", inner=2, parts=3)
    one, two = (allowed_constraints(folds, samples, c) for c in (constraints, other))
    np.testing.assert_array_equal(one.fit, two.fit)
    np.testing.assert_array_equal(one.inner, two.inner)


def test_rates_of_unknown_place_are_withheld_where_places_decide(table):
    samples, constraints = table
    unmeasured = ~np.isin(constraints["glacier"].values, samples["glacier"].values)
    nowhere = constraints.drop_vars(["longitude", "latitude", "region"])
    for scheme in ("blocks", "leave_region_out"):
        folds = make_folds(samples, scheme, inner=2, parts=3)
        assert not allowed_constraints(folds, samples, nowhere).fit[:, unmeasured].any()
    folds = replace(make_folds(samples, "logo", inner=2, parts=3))
    assert allowed_constraints(folds, samples, nowhere).fit[:, unmeasured].any()
