"""Figures show just what the tables hold: values, intervals, what is missing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib import pyplot

import glacmb_grid
from glacmb_grid import plot
from glacmb_grid.plot.maps import symbol_areas
from glacmb_grid.plot.series import band
from glacmb_grid.plot.style import COLUMN, limit_of, sheet
from glacmb_grid.stores.formats import write_zarr

EMPTY = "nothing to show"
BAD = float("nan")


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def predictions(rows=12, seed=0):
    rng = np.random.default_rng(seed)
    observed = rng.normal(-0.5, 0.7, rows)
    out = pd.DataFrame({"observed": observed, "predicted": observed + rng.normal(0, 0.2, rows)})
    return out.assign(scheme="logo", model="ridge", glacier="g", year=2001)


def scores():
    lines = []
    for scheme, shift in (("logo", 0.0), ("loyo", -0.1)):
        for model, value in (("mean", 0.8), ("ridge", 0.6), ("net", 0.5)):
            lines.append((scheme, model, "all", "rmse", value + shift, value + shift - 0.1, value + shift + 0.2))
            lines.append((scheme, model, "all", "r2", 1 - value, 0.0, 1.0))
    return pd.DataFrame(lines, columns=["scheme", "model", "slice", "metric", "value", "lower", "upper"])


def texts(ax):
    return " ".join(t.get_text() for t in ax.texts)


def points(ax):
    """Offsets of all points that were scattered, those of the legend's key aside."""
    return np.concatenate([c.get_offsets() for c in ax.collections if len(getattr(c, "get_offsets", list)())])


def test_the_map_shows_every_glacier_at_its_place_in_the_colour_of_its_mean(toys):
    product = toys.product(glaciers=6)
    ax = plot.glacier_map(product)
    dots = ax.collections[0]
    order = np.argsort(-product["area"].values, kind="stable")
    place = np.column_stack([product["longitude"].values, product["latitude"].values])[order]
    np.testing.assert_allclose(dots.get_offsets(), place)
    np.testing.assert_allclose(dots.get_array(), product["mass_balance"].mean("year").values[order], rtol=1e-5)
    np.testing.assert_allclose(dots.get_sizes(), symbol_areas(product["area"].values)[order])
    assert dots.norm.vmin == -dots.norm.vmax, "white is 0"


def test_the_map_says_how_many_glaciers_have_no_value(toys):
    product = toys.product(glaciers=4)
    product["mass_balance"] = product["mass_balance"].where(product["glacier_id"] != "RGI60-13.00002")
    ax = plot.glacier_map(product)
    assert len(ax.collections[0].get_offsets()) == 3
    assert "1 of 4 glaciers without a value" in texts(ax)


def test_a_map_of_nothing_says_so(toys):
    product = toys.product(glaciers=3)
    product["mass_balance"] = product["mass_balance"] * np.nan
    assert "no glacier with a value" in texts(plot.glacier_map(product))
    assert "no glacier with a value" in texts(plot.glacier_map(toys.product(glaciers=3).isel(glacier=slice(0, 0))))


def test_the_applicability_is_the_share_of_years(toys):
    product = toys.product(glaciers=5)
    dots = plot.applicability_map(product).collections[0]
    order = np.argsort(-product["area"].values, kind="stable")
    np.testing.assert_allclose(dots.get_array(), product["applicable"].mean("year").values[order])


def test_a_series_has_its_line_its_intervals_and_its_observations(toys):
    product = toys.product()
    name = "RGI60-13.00003"
    observed = pd.DataFrame(
        {"glacier": [name, name, "other"], "year": [2002, 2004, 2002], "mass_balance": [-1.0, 0.2, 9.0]}
    ).assign(mass_balance_uncertainty=0.2)
    ax = plot.glacier_series(product, name, observations=observed)
    one = product.isel(glacier=3)
    line = next(x for x in ax.lines if x.get_label() == "predicted")
    np.testing.assert_array_equal(line.get_xdata(), product["year"].values)
    np.testing.assert_allclose(line.get_ydata(), one["mass_balance"].values)
    marks = ax.containers[0][0]
    np.testing.assert_array_equal(marks.get_xydata(), [[2002, -1.0], [2004, 0.2]])
    filled = {c.get_label(): c.get_paths()[0].vertices for c in ax.collections if c.get_label().endswith("interval")}
    for percent in (90, 50):
        low, high = (one[f"mass_balance_{e}_{percent}"].values for e in ("lower", "upper"))
        ends = filled[f"{percent} % prediction interval"][:, 1]
        assert ends.min() == pytest.approx(low.min())
        assert ends.max() == pytest.approx(high.max())


def test_a_series_tells_its_gaps_and_refuses_a_glacier_that_is_not_there(toys):
    product = toys.product()
    product["mass_balance"][{"glacier": 0, "year": slice(0, 2)}] = np.nan
    assert "2 of 6 years without a value" in texts(plot.glacier_series(product, "RGI60-13.00000"))
    with pytest.raises(glacmb_grid.InputError, match=r"RGI60-13\.00001"):
        plot.glacier_series(product, "nowhere")
    with pytest.raises(glacmb_grid.InputError, match="no mass_balance"):
        plot.glacier_series(xr.Dataset(), "any")


def test_the_band_of_a_region_is_wider_than_what_independence_claims(toys):
    regional = toys.regional()
    ax = plot.regional_series(regional, "14", quantity="mass_change_gt", level=0.9)
    one = regional.isel(region=1)
    value = one["mass_change_gt"].values
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), value)
    bands = {c.get_label(): c.get_paths()[0].vertices[:, 1] for c in ax.collections}
    (first, mine), (second, claimed) = bands.items()
    assert "correlated" in first
    assert "independent" in second
    low, high = band(value, one["mass_change_gt_uncertainty"].values, 0.9)
    assert (mine.min(), mine.max()) == pytest.approx((low.min(), high.max()))
    assert np.ptp(claimed) < np.ptp(mine)
    assert ax.get_ylabel() == "annual mass change (Gt)"
    assert ax.get_title() == "Region 14, 7 glaciers"


def test_a_band_holds_the_share_it_names():
    low, high = band(np.zeros(1), np.ones(1), 0.9)
    assert (low[0], high[0]) == pytest.approx((-1.6449, 1.6449), abs=1e-4)


def test_a_region_or_a_quantity_that_is_not_there_is_refused(toys):
    with pytest.raises(glacmb_grid.InputError, match="one of 13, 14"):
        plot.regional_series(toys.regional(), "15")
    with pytest.raises(glacmb_grid.InputError, match="quantity"):
        plot.regional_series(toys.regional(), quantity="balance")
    assert "no region" in texts(plot.regional_series(toys.regional().isel(region=slice(0, 0))))


def test_predicted_against_observed_are_the_pairs_and_their_scores():
    table = predictions()
    table.loc[3, "predicted"] = BAD
    ax = plot.predicted_observed(table)
    np.testing.assert_allclose(points(ax), table[["observed", "predicted"]].dropna().to_numpy())
    error = (table["predicted"] - table["observed"]).dropna()
    assert f"RMSE {np.sqrt((error**2).mean()):.3f}" in texts(ax)
    assert "1 of 12 rows without a value" in texts(ax)
    assert EMPTY in texts(plot.predicted_observed(table[:0]))
    with pytest.raises(glacmb_grid.InputError, match="no predicted"):
        plot.predicted_observed(table.drop(columns="predicted"))


def test_scores_stand_beside_every_rival_with_their_intervals():
    table = scores()
    ax = plot.score_dots(table)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["mean", "ridge", "net"]
    found = {line.get_label(): line.get_xdata() for line in ax.lines}
    rmse = table[table["metric"] == "rmse"]
    for scheme in ("logo", "loyo"):
        one = rmse[rmse["scheme"] == scheme]
        np.testing.assert_allclose(found[scheme], one["value"])
    ends = np.concatenate([np.array(c.get_segments())[:, :, 0] for c in ax.collections])
    np.testing.assert_allclose(ends, rmse[["lower", "upper"]].to_numpy())
    assert EMPTY in texts(plot.score_dots(table[:0]))


def test_scores_without_intervals_are_points():
    table = scores().assign(lower=BAD, upper=BAD)
    ax = plot.score_dots(table, scheme="logo")
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0.8, 0.6, 0.5])


def test_reliability_shows_what_was_found_against_what_was_promised():
    lines = [("logo", m, "hier", "all", lv, lv + 0.02, lv - 0.1, 1.0) for m in ("a", "b") for lv in (0.5, 0.9)]
    names = ["scheme", "model", "method", "slice", "level", "coverage", "lower", "upper"]
    table = pd.DataFrame(lines, columns=names)
    found = {x.get_label(): x.get_ydata() for x in plot.reliability(table).lines}
    np.testing.assert_allclose(found["a"], [0.52, 0.92])
    assert "no coverage" in texts(plot.reliability(table.assign(coverage=BAD)))


def test_skill_by_distance_keeps_classes_in_order_and_counts_rows():
    lines = [
        ("logo", m, a, b, v, BAD, BAD, n) for m, v in (("a", 0.5), ("b", 0.7)) for a, b, n in ((0, 1, 5), (1, 10, 9))
    ]
    names = ["scheme", "model", "from_km", "to_km", "rmse", "lower", "upper", "n"]
    table = pd.DataFrame(lines, columns=names)
    ax = plot.skill_by_distance(table)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0 to 1\nn = 5", "1 to 10\nn = 9"]
    assert [x.get_ydata().tolist() for x in ax.lines] == [[0.5, 0.5], [0.7, 0.7]]
    assert "no distances" in texts(plot.skill_by_distance(table[:0]))
    far = plot.skill_by_distance(table.replace({"to_km": {10: np.inf}}))
    assert far.get_xticklabels()[1].get_text() == "over 1\nn = 9"


def network(**changes):
    loss = np.full((2, 3, 4, 2), BAD)
    loss[..., 0] = [[[1.0, 0.8, 0.6, 0.4]] * 3, [[2.0, 1.0, BAD, BAD]] * 3]
    loss[0, 0, :, 0] = 9.0  # one member of three: the median does not follow it
    inner = np.full((2, 2, 4, 2), BAD)
    inner[..., 1] = 0.5
    values = {"loss": loss, "inner_loss": inner} | changes
    dims = {"loss": ("fold", "member", "epoch", "part"), "inner_loss": ("fold", "inner", "inner_epoch", "part")}
    return xr.Dataset({n: (dims[n], v) for n, v in values.items()}, coords={"part": ["fit", "stop"]})


def test_learning_curves_are_medians_of_members_and_of_folds_on_logarithmic_axes():
    ax = plot.learning_curves(network())
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    medians = {x.get_label(): x.get_ydata() for x in ax.lines if "median" in x.get_label()}
    np.testing.assert_allclose(medians["rows learnt from: median of folds"], [1.5, 0.9, 0.6, 0.4])
    np.testing.assert_allclose(medians["inner rows, watched to stop: median of folds"], [0.5] * 4)
    nothing = network(loss=np.full((2, 3, 4, 2), BAD), inner_loss=np.full((2, 2, 4, 2), BAD))
    assert "no losses" in texts(plot.learning_curves(nothing))


def test_learning_curves_of_a_store_that_xarray_opened_are_drawn(tmp_path):
    write_zarr(network(), tmp_path / "fit.zarr")
    drawn = {x.get_label() for x in plot.learning_curves(xr.open_zarr(tmp_path / "fit.zarr")).lines}
    assert "rows learnt from: median of folds" in drawn


def test_chosen_predictors_are_a_cell_for_every_fold():
    table = pd.DataFrame(
        {"scheme": "logo", "model": "ridge", "fold": ["f1", "f2"], "feature_names": ["rain; heat", "heat; wind"]}
    )
    ax = plot.chosen_predictors(table)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["heat", "rain", "wind"]
    np.testing.assert_array_equal(ax.images[0].get_array(), [[1, 1], [1, 0], [0, 1]])
    assert "no predictors" in texts(plot.chosen_predictors(table.assign(feature_names=None)))


def test_importance_is_the_mean_over_folds_largest_first():
    table = pd.DataFrame(
        {"scheme": "logo", "model": "ridge", "group": ["a", "a", "b", "b"], "increase": [0.1, 0.3, 0.5, 0.7]}
    )
    ax = plot.importance_bars(table)
    assert [p.get_width() for p in ax.patches] == pytest.approx([0.6, 0.2])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "a"]
    assert EMPTY in texts(plot.importance_bars(table[:0]))


def test_ablations_and_gaps_are_differences_without_the_one_compared_with():
    removed = pd.DataFrame(
        {"scheme": "logo", "model": "ridge", "ablation": ["as it is", "without snow"], "rmse": [0.5, 0.6],
         "difference": [BAD, 0.1], "lower": [BAD, -0.1], "upper": [BAD, 0.3]}
    )  # fmt: skip
    ax = plot.ablation_dots(removed)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["without snow"]
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), [0.1])
    gaps = pd.DataFrame(
        {"model": "ridge", "leak": ["nested", "selection"], "rmse": [0.5, 0.3], "promised": [0.0, 0.2],
         "lower": [0.0, 0.1], "upper": [0.0, 0.3]}
    )  # fmt: skip
    np.testing.assert_allclose(plot.audit_gap(gaps).lines[-1].get_xdata(), [0.2])
    assert EMPTY in texts(plot.audit_gap(gaps[:0]))
    assert EMPTY in texts(plot.ablation_dots(removed[:1]))


@pytest.mark.parametrize("upper", [0.0119, 0.0381, 0.1, 1.4])
def test_numbers_beside_long_names_are_whole_and_apart(upper):
    names = ["split: random rows", "shared climate vectors: split by glacier", "all of them: the paper's protocol"]
    gaps = pd.DataFrame({"model": "ridge", "leak": names, "rmse": 0.3, "promised": upper / 2, "lower": -upper / 20})
    ax = plot.audit_gap(gaps.assign(upper=upper))
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    across = [t.get_window_extent() for t in ax.get_xticklabels() if low <= t.get_position()[0] <= high]
    assert len(across) > 1
    assert all(ax.figure.bbox.x0 <= b.x0 and b.x1 <= ax.figure.bbox.x1 for b in across), "a number is cut"
    assert all(a.x1 < b.x0 for a, b in pairwise(across)), "numbers overlap"


def test_skill_by_glaciers_goes_up_in_numbers():
    table = pd.DataFrame({"scheme": "logo", "model": "ridge", "groups": [15.0, 2.0], "rmse": [0.4, 0.8]})
    ax = plot.skill_by_glaciers(table)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[2, 0.8], [15, 0.4]])
    assert all(float(t).is_integer() for t in ax.get_xticks()), "glaciers come whole"
    assert EMPTY in texts(plot.skill_by_glaciers(table[:0]))


def test_geodetic_rates_are_pairs_with_both_errors():
    values = {"product_rate": [-0.5, -0.2], "geodetic_rate": [-0.4, -0.3]}
    values |= {f"{n}_uncertainty": [0.1, 0.2] for n in ("product", "geodetic")}
    compared = xr.Dataset({n: ("survey", v) for n, v in values.items()})
    marks = plot.geodetic_rates(compared).containers[0][0]
    np.testing.assert_allclose(marks.get_xydata(), [[-0.4, -0.5], [-0.3, -0.2]])
    assert "no rate" in texts(plot.geodetic_rates(compared.isel(survey=slice(0, 0))))


def test_axes_that_are_given_are_drawn_into_and_new_ones_are_a_column_wide(toys):
    figure, axes = pyplot.subplots(1, 2)
    assert plot.glacier_map(toys.product(), ax=axes[1]) is axes[1]
    assert not axes[0].collections
    width = plot.score_dots(scores()).figure.get_size_inches()[0] * 25.4
    assert width == pytest.approx(COLUMN)
    with sheet(50) as ax:
        assert ax.figure.get_size_inches() * 25.4 == pytest.approx((COLUMN, 50))
    assert figure.number in pyplot.get_fignums()


def test_limits_of_a_scale_are_symmetric_and_survive_anything():
    assert limit_of([-0.31, 0.1]) == pytest.approx(0.4)
    assert limit_of([BAD]) == 1.0
    assert limit_of([0.0]) == pytest.approx(0.1)


def test_every_public_figure_is_reached_from_the_package():
    assert all(callable(getattr(glacmb_grid.plot, n)) for n in plot.__all__)
