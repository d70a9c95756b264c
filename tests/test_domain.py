"""The scheme `domain`: folds whose distances match those of the glaciers that are predicted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.folds.domain import Reach, matched_parts, reach_of_folds, reach_of_targets
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.rows import Rows
from glacmb_grid.folds.schemes import make_folds, redo_inner
from glacmb_grid.folds.space import nearest_km, unit_vectors
from glacmb_grid.inputs.own_table.targets import read_targets
from glacmb_grid.judging.plan import targets_of
from glacmb_grid.report.scores import score_lines
from glacmb_grid.workflow.check import check
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.runner import run

DEGREE = np.pi / 180 * 6371.007181  # km along the equator


def measured(east, north=None, years=(2000, 2001), **coords):
    """Glaciers at these positions, each with a row for every year."""
    east = np.asarray(east, float)
    north = np.zeros(len(east)) if north is None else np.asarray(north, float)
    glacier, year = (a.ravel() for a in np.meshgrid(np.arange(len(east)), years, indexing="ij"))
    return xr.Dataset(
        coords={
            "sample": [f"g{g:03d}:{y}" for g, y in zip(glacier, year, strict=True)],
            "glacier": ("sample", np.array([f"g{g:03d}" for g in glacier], dtype=object)),
            "year": ("sample", year),
            "longitude": ("sample", east[glacier]),
            "latitude": ("sample", north[glacier]),
            **{n: ("sample", np.asarray(v, dtype=object)[glacier]) for n, v in coords.items()},
        }
    )


def places(east, north=None, index=None, **columns):
    east = np.asarray(east, float)
    north = np.zeros(len(east)) if north is None else north
    index = [f"p{i}" for i in range(len(east))] if index is None else index
    return pd.DataFrame({"longitude": east, "latitude": north, **columns}, index=index)


def clustered(seed, glaciers=30, clusters=6, targets=300):
    """Measured glaciers in a few clusters of some 20 km, and predicted ones all over the region."""
    rng = np.random.default_rng(seed)
    east, north = rng.uniform(70, 88, targets), rng.uniform(30, 40, targets)
    of = np.r_[np.arange(clusters), rng.integers(0, clusters, glaciers - clusters)]
    own = measured(east[of] + rng.normal(0, 0.2, glaciers), north[of] + rng.normal(0, 0.2, glaciers))
    return own, places(east, north)


def rows_of(samples):
    return Rows.of(samples, np.ones(samples.sizes["sample"], bool))


def left_over(samples, folds, targets):
    """The Wasserstein distance by another way: plain loops over rows, distances by the haversine formula."""
    east, north = (np.deg2rad(samples[n].values) for n in ("longitude", "latitude"))

    def km(a, b, x, y):
        h = np.sin((y - b) / 2) ** 2 + np.cos(y) * np.cos(b) * np.sin((x - a) / 2) ** 2
        return 2 * 6371.007181 * np.arcsin(np.sqrt(h))

    scored = []
    for fit, score in zip(folds.fit, folds.score, strict=True):
        scored += [min(km(east[fit], north[fit], east[i], north[i])) for i in np.flatnonzero(score)]
    x, y = (np.deg2rad(targets[n].to_numpy()) for n in ("longitude", "latitude"))
    wanted = [min(km(east, north, a, b)) for a, b in zip(x, y, strict=True)]
    return wasserstein_distance(scored, wanted)


def test_by_hand_pairs_of_neighbours_stay_together_where_predictions_are_far():
    """Pairs 1 degree apart, 4 degrees from each other; all that is predicted lies 4 degrees from a measured glacier."""
    samples = measured([0, 1, 5, 6, 10, 11])
    far = places([0, 5, 11], [4, 4, 4])
    folds = make_folds(samples, "domain", targets=far)
    glacier = samples["glacier"].values
    assert [sorted(set(glacier[s])) for s in folds.score] == [["g000", "g001"], ["g002", "g003"], ["g004", "g005"]]
    # the outer glaciers of the outer pairs are 5 degrees from the next pair, the other four 4 degrees
    assert folds.wasserstein_km == pytest.approx([(2 * 5 + 4 * 4) / 6 * DEGREE - 4 * DEGREE] * 3, abs=1e-5)
    assert folds.name.tolist() == [f"part {i}: g00{2 * i - 2} and 1 more" for i in (1, 2, 3)]
    near = make_folds(samples, "domain", targets=places([0, 5, 11], [1, 1, 1]))
    assert near.wasserstein_km == pytest.approx(0, abs=1e-5)
    for fit, score in zip(near.fit, near.score, strict=True):
        assert nearest_km(unit_vectors(samples)[score], unit_vectors(samples)[fit]) == pytest.approx(DEGREE)


def test_weights_of_targets_by_hand():
    samples = measured([0, 1, 5, 6, 10, 11])
    targets = places([0, 5, 11], [1, 4, 4], weight=[100.0, 0.0, 0.0])
    assert make_folds(samples, "domain", targets=targets).wasserstein_km == pytest.approx(0, abs=1e-5)
    reach = reach_of_targets(rows_of(samples), targets)
    assert Reach(np.array([DEGREE]), np.ones(1)).from_other(reach) == pytest.approx(0, abs=1e-6)


def test_a_measured_glacier_is_predicted_without_its_group():
    samples = measured([0, 1, 5], group=["x", "x", "y"])
    targets = places([0, 1, 5, 5], [0, 0, 0, 1], index=["g000", "g001", "g002", "elsewhere"])
    reach = reach_of_targets(rows_of(samples), targets)
    assert reach.km / DEGREE == pytest.approx([5, 4, 4, 1])


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_over_is_less_than_of_other_schemes_and_as_stated(seed):
    samples, targets = clustered(seed)
    folds = {s: make_folds(samples, s, targets=targets) for s in ("domain", "logo", "random", "blocks")}
    left = {s: left_over(samples, f, targets) for s, f in folds.items()}
    assert folds["domain"].wasserstein_km == pytest.approx([left["domain"]] * len(folds["domain"]), abs=1e-4)
    assert left["domain"] < 0.6 * left["logo"]
    assert left["domain"] < 0.6 * left["random"]
    assert left["domain"] <= left["blocks"] * 1.02


def test_where_measured_glaciers_are_spread_like_the_predicted_ones_it_approaches_logo():
    rng = np.random.default_rng(0)
    east, north = rng.uniform(70, 88, (2, 400)), rng.uniform(30, 40, (2, 400))
    samples, targets = measured(east[0, :40], north[0, :40]), places(east[1], north[1])
    domain, logo = (make_folds(samples, s, targets=targets, parts=40) for s in ("domain", "logo"))
    rows = rows_of(samples)
    reached = [reach_of_folds(rows, f.fit, f.score) for f in (domain, logo)]
    assert np.median(reached[0].km) == pytest.approx(np.median(reached[1].km), rel=0.15)
    assert domain.wasserstein_km[0] <= left_over(samples, logo, targets)
    own = pd.DataFrame({n: samples[n].values[::2] for n in ("longitude", "latitude")}, index=samples["glacier"][::2])
    itself = make_folds(samples, "domain", targets=own, parts=40)  # predicted is what is measured: that is logo
    assert itself.wasserstein_km[0] == pytest.approx(0, abs=1e-6)
    assert len(itself) == 40
    np.testing.assert_array_equal(itself.score, logo.score)


def test_the_same_folds_whenever_they_are_made_and_whatever_the_seed():
    samples, targets = clustered(1)
    first = make_folds(samples, "domain", targets=targets)
    xr.testing.assert_identical(first.to_dataset(), make_folds(samples, "domain", targets=targets, seed=9).to_dataset())
    shuffled = targets.sample(frac=1, random_state=0)
    assert (first.score == make_folds(samples, "domain", targets=shuffled).score).all()


glaciers = st.tuples(st.integers(0, 20), st.integers(0, 6), st.integers(0, 5))


@settings(deadline=None, max_examples=80)
@given(st.lists(glaciers, min_size=2, max_size=14), st.integers(2, 9), st.integers(0, 3))
def test_groups_are_never_split_and_every_row_is_scored_once(sites, parts, seed):
    """Many glaciers at one place, groups that lie far apart."""
    east, north, group = (np.array(c) for c in zip(*sites, strict=True))
    samples = measured(80 + east / 5, 30 + north / 5, group=[f"c{g}" for g in group])
    rng = np.random.default_rng(seed)
    targets = places(rng.uniform(79, 85, 7), rng.uniform(29, 33, 7))
    if len(set(group)) < 2:
        with pytest.raises(InputError, match="left to fit on"):
            make_folds(samples, "domain", targets=targets, parts=parts)
        return
    folds = make_folds(samples, "domain", targets=targets, parts=parts)
    assert 2 <= len(folds) <= parts
    assert (folds.score.sum(axis=0) == 1).all()
    np.testing.assert_array_equal(folds.fit, ~folds.score)
    label = samples["group"].values
    inner = zip(folds.inner_fit.reshape(-1, len(label)), folds.inner_score.reshape(-1, len(label)), strict=True)
    for fit, score in (*zip(folds.fit, folds.score, strict=True), *(i for i in inner if len(set(label[i[0]])) > 1)):
        assert not set(label[fit]) & set(label[score]) or (fit == score).all() or len(set(label[fit | score])) == 1
    share = np.unique(label, return_counts=True)[1].max() / len(label)
    if 2 < len(set(group)) <= parts:
        assert folds.score.sum(axis=1).max() <= max(0.5, share) * len(label) + 1e-9


def test_glaciers_that_share_a_group_by_way_of_others_stay_together():
    samples = measured([0, 1, 5, 6, 10], years=(2000, 2001))
    groups = {"g000": "xx", "g001": "xy", "g002": "yy"}  # g001 is in two groups, and joins them
    label = [groups.get(g, g + g[-1])[i % 2 - 2] if g in groups else g for i, g in enumerate(samples["glacier"].values)]
    folds = make_folds(samples.assign_coords(group=("sample", label)), "domain", targets=places([3], [4]))
    together = np.isin(samples["glacier"].values, list(groups))
    assert len(set(folds.score.argmax(axis=0)[together])) == 1


def test_inner_splits_repeat_the_distances_of_the_outer_folds():
    samples, targets = clustered(2, glaciers=40, clusters=10)
    folds, logo = (make_folds(samples, s, targets=targets) for s in ("domain", "logo"))
    rows = rows_of(samples)
    outer = reach_of_folds(rows, folds.fit, folds.score)
    for fold in range(len(folds)):
        inner = reach_of_folds(rows, folds.inner_fit[fold], folds.inner_score[fold])
        other = reach_of_folds(rows, logo.inner_fit[fold], logo.inner_score[fold])
        assert inner.from_other(outer) < 0.6 * other.from_other(outer)
    again = redo_inner(folds, samples, folds.fit)
    np.testing.assert_array_equal(again.inner_score, folds.inner_score)


def test_a_single_dominating_glacier_may_be_more_than_half_of_the_rows():
    samples = measured([0, 1, 5, 6]).isel(sample=[0, 1, 2, 4, 6])
    many = samples.isel(sample=[0] * 9 + [2, 3, 4]).assign_coords(sample=[f"s{i}" for i in range(12)])
    folds = make_folds(many, "domain", targets=places([3], [1]))
    assert (folds.score.sum(axis=0) == 1).all()
    assert (
        matched_parts(rows_of(many), np.zeros(12, bool), Reach(np.ones(1), np.ones(1)), [2]).part.tolist() == [-1] * 12
    )


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (None, "name a table with their positions"),
        (places([]), "an empty table"),
        (places([1.0]).drop(columns="latitude"), "no column latitude"),
        (places([1.0, np.nan]), "1 of 2 without: p1"),
        (places([1.0, 2.0], [0.0, 91.0]), "1 of 2 without: p1"),
        (places([1.0, 2.0], weight=[1.0, -1.0]), "1 of 2 without: p1"),
        (places([1.0, 2.0], weight=[0.0, 0.0]), "no weight above zero"),
    ],
)
def test_targets_that_will_not_do_are_refused(targets, told):
    with pytest.raises(InputError, match=told):
        make_folds(measured([0, 1, 5]), "domain", targets=targets)


def test_what_is_left_over_is_stored_with_the_folds():
    samples, targets = clustered(3)
    folds = make_folds(samples, "domain", targets=targets)
    stored = folds.to_dataset()
    assert (stored["wasserstein_km"] > 0).all()
    np.testing.assert_array_equal(Folds.from_dataset(stored).wasserstein_km, folds.wasserstein_km)
    logo = make_folds(samples, "logo")
    assert "wasserstein_km" not in logo.to_dataset().coords
    assert np.isnan(Folds.from_dataset(logo.to_dataset()).wasserstein_km).all()


def test_five_hundred_measured_and_thirty_thousand_predicted_glaciers_take_seconds():
    rng = np.random.default_rng(0)
    samples = measured(rng.uniform(60, 110, 500), rng.uniform(27, 45, 500))
    folds = make_folds(samples, "domain", targets=places(rng.uniform(60, 110, 30_000), rng.uniform(27, 45, 30_000)))
    assert folds.score.sum() == 1000


# ---- in a run ----


@pytest.fixture
def own_run(tmp_path):
    """A table of ten glaciers in two clusters, and the glaciers that are to be predicted."""
    rng = np.random.default_rng(0)
    glacier, year = (a.ravel() for a in np.indices((10, 6)))
    east = np.r_[80 + 0.1 * np.arange(5), 84 + 0.1 * np.arange(5)][glacier]
    weather = rng.normal(size=60)
    table = {
        "glacier": [f"g{g}" for g in glacier], "year": 2001 + year, "b": weather + rng.normal(0, 0.2, 60),
        "weather": weather, "other": rng.normal(size=60), "lon": east, "lat": 35.0 + 0 * east,
    }  # fmt: skip
    pd.DataFrame(table).to_csv(tmp_path / "table.csv", index=False)
    rgi = {"rgi_id": [f"RGI{i}" for i in range(9)], "cenlon": np.linspace(78, 86, 9), "cenlat": 37.0, "area_km2": 1.0}
    pd.DataFrame(rgi).to_csv(tmp_path / "rgi.csv", index=False)
    content = {
        "samples": {
            "path": "table.csv", "glacier": "glacier", "year": "year", "target": "b", "target_units": "m w.e.",
            "latitude": "lat", "longitude": "lon", "targets": "rgi.csv",
        },
        "models": {"ridge": {"recipes": [{}], "penalties": [1]}},
        "validation": {"schemes": ["logo", "domain"], "inner": 2, "models": ["mean", "ridge"]},
        "scores": {"bootstrap": 100},
        "store": {"root": "out"},
    }  # fmt: skip
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "own.yaml"


def test_a_table_is_judged_where_its_predictions_are_wanted(own_run):
    told: list[str] = []
    config = load_config(own_run)
    run(config, stage="evaluation", say=told.append)
    folds = xr.open_zarr(config.root / "folds" / "domain.zarr", chunks=None)
    left = folds["wasserstein_km"].values[0]
    assert any(f"match those of the predicted glaciers to W = {left:.3g} km" in line for line in told)
    assert any("domain: 2 folds; distances match" in line for line in check(config))
    score = folds["score"].values
    assert [{str(s)[:2] for s in folds["sample"].values[row]} for row in score] == [
        {f"g{i}" for i in range(5)},
        {f"g{i}" for i in range(5, 10)},
    ]
    scores = pd.read_csv(config.root / "evaluation" / "scores.csv")
    assert {"logo", "domain"} == set(scores["scheme"])
    text = "\n".join(score_lines(scores, 0.9))
    assert "domain, nested, n = 60 - as far from fitted glaciers as the predicted ones are: the expected RMSE" in text
    assert text.count("expected RMSE") == 1
    states = {name: state for name, state, _ in status(config)}
    assert states["folds"] == "current"
    with (own_run.parent / "rgi.csv").open("a") as file:
        file.write("RGI99,88,36,1\n")
    states = {name: state for name, state, _ in status(config)}
    assert (states["samples"], states["folds"]) == ("current", "stale")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["samples.targets=null"], r"samples: \{targets: FILE\}"),
        (["samples.targets=nowhere.csv"], "nowhere.csv"),
        (["samples.targets=twice.csv"], "more than once: RGI0"),
        (["samples.targets=blank.csv"], r"none in line\(s\) 3"),
        (["samples.targets=table.csv", "validation.target_weights=area"], "more than once: g0"),
        (["samples.targets=no_area.csv", "validation.target_weights=area"], "areas of the glaciers"),
        (["samples.targets=empty.csv"], "no row"),
    ],
)
def test_what_keeps_the_scheme_from_its_targets_is_told_by_check_and_run(own_run, overrides, told):
    folder = own_run.parent
    table = pd.read_csv(folder / "rgi.csv")
    pd.concat([table, table[:1]]).to_csv(folder / "twice.csv", index=False)
    table.assign(cenlat=[37.0, np.nan, *[37.0] * 7]).to_csv(folder / "blank.csv", index=False)
    table.drop(columns="area_km2").to_csv(folder / "no_area.csv", index=False)
    table[:0].to_csv(folder / "empty.csv", index=False)
    config = load_config(own_run, overrides)
    for act in (lambda: check(config), lambda: run(config, stage="folds", say=lambda _: None)):
        with pytest.raises((InputError, InputErrors), match=told):
            act()


def test_outlines_are_targets_by_number_and_by_area(own_run):
    by_area = load_config(own_run, ["validation.target_weights=area"])
    table = read_targets(own_run.parent / "rgi.csv")
    assert table.columns.tolist() == ["longitude", "latitude", "area"]
    assert table.index[0] == "RGI0"
    assert targets_of(table, by_area.validation)["weight"].tolist() == [1.0] * 9
    assert "weight" not in targets_of(table, load_config(own_run).validation)
    assert targets_of(None, by_area.validation) is None
