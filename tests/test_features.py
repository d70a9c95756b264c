"""What is made of predictors inside a fold: gaps, climatology, selection; by hand, and on fitted rows only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacmb_grid.errors import InputError
from glacmb_grid.learning import features, selection, trees
from glacmb_grid.learning.features import fit_features, fit_scaling, scaled
from glacmb_grid.learning.reach import reach_of
from glacmb_grid.learning.selection import correlations, select
from glacmb_grid.learning.table import Rows, rows_of
from glacmb_grid.settings import Recipe
from glacmb_grid.vocabulary import Meaning

NAN = np.nan
MONTHS = (10, 11, 12, *range(1, 10))


def rows(values, glacier=None, names=None, monthly=None, derived=None):
    values = np.asarray(values, float)
    size, width = values.shape
    glacier = np.array(["a"] * size if glacier is None else list(glacier))
    names = np.array([f"x{i}" for i in range(width)] if names is None else names)
    meanings = [
        Meaning(n, "series" if d else "", calendar_month=m)
        for n, m, d in zip(names.tolist(), monthly or [0] * width, derived or [0] * width, strict=True)
    ]
    return Rows(names, values, glacier, 2000 + np.arange(size), np.full((size, 2), NAN), tuple(meanings))


def learnt(table, used=None, target=None, **recipe):
    size = len(table.year)
    used = np.ones(size, bool) if used is None else np.asarray(used, bool)
    target = np.linspace(-1, 1, size) if target is None else np.asarray(target, float)
    return fit_features(table, used, target, Recipe(**recipe), 1)


def raw(features, table):
    """Features of rows before they are scaled, by name."""
    values = features.expanded(table)
    return dict(zip(features.names.tolist(), values.T, strict=True))


# ---- scale ----


def test_scaling_looks_only_at_weighted_rows():
    values = np.array([[1.0, 5.0], [3.0, NAN], [100.0, 7.0]])
    centre, inverse = fit_scaling(values, np.array([[1.0, 1.0, 0.0]]))
    np.testing.assert_allclose(centre, [[2.0, 5.0]])
    np.testing.assert_allclose(inverse, [[1.0, 0.0]])  # the second is seen once: no spread, so it is dropped
    np.testing.assert_allclose(scaled(values, centre[0], inverse[0]), [[-1, 0], [1, 0], [98, 0]])


def test_features_are_standardised_by_the_fitted_rows():
    table = rows([[1.0, 4.0], [3.0, 4.0], [9.0, 5.0]])
    design = learnt(table, [True, True, False]).design(table)
    assert design.names.tolist() == ["x0"]  # the other does not vary among them
    np.testing.assert_allclose(design.values, [[-1.0], [1.0], [7.0]])


# ---- gaps ----


def test_gaps_take_the_mean_of_the_fitted_rows():
    table = rows([[1.0], [3.0], [NAN], [50.0]])
    design = learnt(table, [1, 1, 1, 0], gaps="mean").design(table)
    np.testing.assert_allclose(design.values[:, 0], [-1.0, 1.0, 0.0, 48.0])


def test_gaps_take_the_mean_of_the_glacier():
    """`a` of its fitted rows alone; `c`, which was not fitted on, of its own rows; `b` has none: all fitted ones."""
    table = rows([[2.0], [4.0], [NAN], [90.0], [NAN], [7.0], [NAN]], "aaaabcc")
    found = raw(learnt(table, [1, 1, 1, 0, 1, 0, 0], gaps="climatology"), table)["x0"]
    np.testing.assert_allclose(found, [2, 4, 3, 90, 3, 7, 7])


def test_gaps_follow_from_the_other_predictors():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    values = np.column_stack([x, 3 * x + 2])
    values[::5, 1] = NAN
    table = rows(values)
    found = raw(learnt(table, gaps="regress"), table)["x1"]
    np.testing.assert_allclose(found[::5], 3 * x[::5] + 2, atol=0.1)
    np.testing.assert_array_equal(found[1::5], values[1::5, 1])


def test_gaps_are_told_by_an_indicator():
    table = rows([[1.0, 1.0], [3.0, 2.0], [NAN, 3.0]])
    features = learnt(table, gaps="indicator")
    design = features.design(table)
    assert design.names.tolist() == ["x0", "x1", "x0_missing"]
    np.testing.assert_array_equal(raw(features, table)["x0_missing"], [0, 0, 1])
    assert design.values[2, 0] == 0


def test_rows_with_gaps_are_dropped_from_what_is_learnt():
    table = rows([[1.0, 1.0], [3.0, 3.0], [NAN, 50.0]])
    design = learnt(table, gaps="drop").design(table)
    np.testing.assert_allclose(design.values[:, 1], [-1, 1, 48])
    assert design.values[2, 0] == 0


@pytest.mark.parametrize("gaps", ["mean", "climatology", "regress", "indicator", "drop"])
def test_no_feature_has_a_gap_whatever_is_missing(gaps):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(30, 5))
    values[rng.random(values.shape) < 0.4] = NAN
    values[:, 4] = NAN  # nobody knows it
    values[3] = NAN
    table = rows(values, np.repeat(list("abcde"), 6))
    design = learnt(table, np.arange(30) < 20, gaps=gaps, parts=("value", "climatology", "anomaly")).design(table)
    assert np.isfinite(design.values).all()
    assert "x4" not in design.names


# ---- climatology and anomaly ----


def test_climatology_and_anomaly_by_hand():
    """Of the fitted rows of a glacier; a glacier that was not fitted on takes its own rows."""
    table = rows([[1.0, 9.0], [3.0, 9.0], [100.0, 9.0], [5.0, 7.0], [9.0, 7.0], [20.0, 1.0], [30.0, 1.0]], "aaabbcc")
    features = learnt(table, [1, 1, 0, 1, 1, 0, 0], parts=("value", "climatology", "anomaly"), within_reach=False)
    found = raw(features, table)
    np.testing.assert_allclose(found["x0"], [1, 3, 100, 5, 9, 20, 30])
    np.testing.assert_allclose(found["x0_climatology"], [2, 2, 2, 7, 7, 25, 25])
    np.testing.assert_allclose(found["x0_anomaly"], [-1, 1, 98, -2, 2, -5, 5])
    assert "x1_climatology" not in found  # it does not vary at a glacier: there is just its value
    np.testing.assert_allclose(found["x1"], [9, 9, 9, 7, 7, 1, 1])
    weather = dict(zip(features.names.tolist(), features.varies.tolist(), strict=True))
    assert weather == {"x0": True, "x1": False, "x0_climatology": False, "x0_anomaly": True}


def test_a_glacier_far_from_the_fitted_ones_is_moved_to_the_end_of_their_reach_by_hand():
    """Means 2 and 7: between -3 and 12. That of glacier c is 25, so that its values lose 13 and keep their anomalies.

    A fitted glacier keeps what a year that was not fitted brings.
    """
    table = rows([[1.0, 9.0], [3.0, 9.0], [100.0, 9.0], [5.0, 7.0], [9.0, 7.0], [20.0, 1.0], [30.0, 1.0]], "aaabbcc")
    fitted = [1, 1, 0, 1, 1, 0, 0]
    found = raw(learnt(table, fitted, parts=("value", "climatology", "anomaly")), table)
    np.testing.assert_allclose(found["x0"], [1, 3, 100, 5, 9, 7, 17])
    np.testing.assert_allclose(found["x0_climatology"], [2, 2, 2, 7, 7, 12, 12])
    np.testing.assert_allclose(found["x0_anomaly"], [-1, 1, 98, -2, 2, -5, 5])
    np.testing.assert_allclose(found["x1"], [9, 9, 9, 7, 7, 5, 5])
    np.testing.assert_allclose(raw(learnt(table, fitted), table)["x0"], [1, 3, 100, 5, 9, 7, 17])


@pytest.mark.parametrize(("values", "lowest", "highest"), [([4.0, 1.0, 2.0], -0.5, 5.5), ([1.0, 1.0, 3.0], -1.0, 5.0)])
def test_the_reach_of_values_by_hand(values, lowest, highest):
    """Range and a share of it, 1 / (distinct values - 1), on both sides."""
    np.testing.assert_allclose(reach_of(np.array(values)[:, None])[:, 0], [lowest, highest])


def test_the_reach_is_that_of_the_uniform_distribution_drawn_from():
    """In the mean over draws, with few values as with many."""
    draws = np.random.default_rng(0).uniform(-1, 3, (5, 20_000))
    np.testing.assert_allclose(reach_of(draws).mean(axis=1), [-1, 3], atol=0.02)


def test_where_glaciers_are_alike_or_none_there_is_no_end_to_the_reach():
    for values in (np.zeros((0, 2)), np.ones((1, 2)), np.full((3, 2), 7.0)):
        np.testing.assert_array_equal(reach_of(values), [[-np.inf] * 2, [np.inf] * 2])
    np.testing.assert_array_equal(reach_of(np.array([[1.0], [2.0]]), limited=False), [[-np.inf], [np.inf]])


def test_later_years_do_not_change_the_climatology_of_a_glacier_that_was_not_fitted():
    """So that a year can be added to a product; where a glacier has no year among the fitted ones, all of its count."""
    table = rows([[1.0], [2.0], [4.0], [8.0], [16.0], [32.0]], "aabbcc")
    year = np.array([2000, 2004, 2003, 2009, 2008, 2009])
    table = replace(table, year=year)
    features = learnt(table, [1, 1, 0, 0, 0, 0], parts=("value", "climatology"))
    found = raw(features, table)["x0_climatology"]
    np.testing.assert_allclose(found, [1.5, 1.5, 4, 4, 24, 24])
    few = table.take(year < 2009)
    np.testing.assert_allclose(raw(features, few)["x0_climatology"], [1.5, 1.5, 4, 16])


def test_with_few_glaciers_what_is_constant_at_them_is_no_feature():
    """It would only be their name; where nothing else is there, it has to do."""
    glacier = np.repeat(list("abcd"), 3)
    level = np.repeat([1.0, 5.0, 2.0, 9.0], 3)
    table = rows(np.column_stack([level, level * np.tile([1.0, 2.0, 3.0], 4)]), glacier)
    every = {"parts": ("value", "climatology", "anomaly")}
    assert features.LEAST_GLACIERS == 4
    all_of_them = ["x0", "x1", "x1_climatology", "x1_anomaly"]
    assert learnt(table, **every).design(table).names.tolist() == all_of_them
    assert learnt(table, glacier != "d", **every).design(table).names.tolist() == ["x1", "x1_anomaly"]
    assert learnt(table, glacier != "d", predictors=["x0"]).design(table).names.tolist() == ["x0"]


def test_the_value_can_be_left_out_but_for_what_never_varies():
    table = rows([[1.0, 9.0], [3.0, 9.0], [5.0, 7.0], [9.0, 7.0]], "aabb")
    assert learnt(table, parts=("anomaly",)).names.tolist() == ["x1", "x0_anomaly"]
    assert learnt(table, parts=("climatology",)).names.tolist() == ["x1", "x0_climatology"]


def test_which_predictors_a_recipe_takes():
    names = ["t_01", "t_02", "t_summer", "slope"]
    table = rows(np.random.default_rng(0).normal(size=(9, 4)), names=names, monthly=[1, 2, 0, 0], derived=[0, 0, 1, 0])
    assert learnt(table).names.tolist() == names
    assert learnt(table, take="table").names.tolist() == ["t_01", "t_02", "slope"]
    assert learnt(table, take="seasonal").names.tolist() == ["t_summer", "slope"]
    assert learnt(table, predictors=["t_*"], exclude=["*_02"]).names.tolist() == ["t_01", "t_summer"]
    mixed = learnt(table, take="seasonal", climatology_of="table", parts=("climatology", "anomaly"))
    assert [n for n in mixed.names if n.endswith("_climatology")] == [
        f"{n}_climatology" for n in ("t_01", "t_02", "slope")
    ]
    assert [n for n in mixed.names if n.endswith("_anomaly")] == ["t_summer_anomaly", "slope_anomaly"]
    with pytest.raises(InputError, match="slop"):
        learnt(table, predictors=["slop"])


def test_what_a_predictor_is_comes_from_its_coordinates_and_never_from_its_name(toys):
    names = [*(f"t_{m:02d}" for m in range(1, 13)), "b", "c", "d"]
    meanings = [*map(Meaning, names[:12]), Meaning("b", "table", calendar_month=3), Meaning("c", "series", "summer")]
    meanings += [Meaning("d", "position")]
    rows = rows_of(toys.table(np.zeros((3, 15)), [0, 1, 2], list("abc"), [2000] * 3, names, meanings))
    assert rows.monthly.tolist() == [False] * 12 + [True, False, False]
    assert rows.derived.tolist() == [False] * 13 + [True, False]
    assert rows.from_table
    turned = rows.in_order(rows.names[[14, 12, 0]])
    assert [m.stem for m in turned.meanings] == ["d", "b", "t_01"]
    assert turned.monthly.tolist() == [False, True, False]
    assert not turned.in_order(turned.names[[0]]).from_table


def test_predictors_of_cubes_are_monthly_seasonal_or_static(toys):
    rows = rows_of(toys.samples(toys.predictors(glaciers=2)))
    assert rows.names[rows.monthly].tolist() == [f"{v}_{m:02d}" for v in ("t2m", "tp") for m in MONTHS]
    assert not rows.derived.any()
    assert not rows.from_table


# ---- selection ----


def planted(size=200, seed=0):
    """Features: strong, its copy with little noise, weak, noise; and the target."""
    rng = np.random.default_rng(seed)
    strong, weak = rng.normal(size=(2, size))
    copy = strong + 0.1 * rng.normal(size=size)
    values = np.column_stack([copy, strong, weak, rng.normal(size=size)])
    return values, strong + 0.3 * weak + 0.01 * rng.normal(size=size)


def test_correlation_is_pearsons():
    values, target = planted()
    expected = [np.corrcoef(v, target)[0, 1] for v in values.T]
    np.testing.assert_allclose(correlations(values, target), expected, rtol=1e-10)
    assert correlations(np.ones((5, 1)), np.arange(5.0)).tolist() == [0]


def test_weak_ones_go_then_the_lesser_of_a_similar_pair():
    values, target = planted()
    assert select(values, target, Recipe(), 1).tolist() == [0, 1, 2, 3]
    assert select(values, target, Recipe(correlation=0.2), 1).tolist() == [0, 1, 2]
    assert select(values, target, Recipe(collinearity=0.9), 1).tolist() == [1, 2, 3]
    assert select(values, target, Recipe(correlation=0.5, collinearity=0.9), 1).tolist() == [1]
    assert select(values, target, Recipe(correlation=0.9999), 1).tolist() == [1]  # at least the best


@pytest.mark.parametrize("ranking", ["correlation", "random_forest"])
def test_the_highest_ranks_are_kept(ranking):
    values, target = planted()
    kept = select(values[:, 1:], target, Recipe(keep=2, ranking=ranking), 1)
    assert kept.tolist() == [0, 1]


def test_the_forest_sees_what_correlation_does_not():
    rng = np.random.default_rng(3)
    hidden = rng.normal(size=400)
    values = np.column_stack([rng.normal(size=400), hidden, rng.normal(size=400)])
    target = np.abs(hidden)
    assert select(values, target, Recipe(keep=1, ranking="random_forest"), 1).tolist() == [1]


def test_the_forest_ranks_as_scikit_learns_importances():
    from sklearn.ensemble import RandomForestRegressor

    values, target = planted()
    oracle = RandomForestRegressor(100, min_samples_leaf=2, max_features=0.33, random_state=7).fit(values, target)
    kept = select(values, target, Recipe(keep=2), 7)
    assert set(kept.tolist()) == set(np.argsort(-oracle.feature_importances_)[:2].tolist())


def wide(size=500, width=401, decides=(250, 30)):
    """Noise, and a target that one feature decides, and the size of another; just above the bound of cells."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(size, width))
    one, other = values[:, decides].T
    return values, 2 * one + np.abs(other) + 0.1 * rng.normal(size=size)


@pytest.mark.parametrize(("columns", "at_random"), [(200, False), (201, True)])
def test_large_tables_are_ranked_by_splits_drawn_at_random(columns, at_random, monkeypatch):
    values, target = wide()
    asked = []

    def watched(*given, **options):
        asked.append(options)
        return trees.grow(*given, **{**options, "trees": 1})

    monkeypatch.setattr(selection, "grow", watched)
    monkeypatch.setattr(selection, "_found", {})
    select(values[:, :columns], target, Recipe(keep=3), 1)  # 100,000 cells, and one column more
    (options,) = asked
    assert options.get("random_splits", False) is at_random
    assert (options["leaf"], options["share"]) == ((10, 1.0) if at_random else (2, 0.33))


def test_the_work_of_ranking_is_bounded(monkeypatch):
    """Twice as many features, half the share of them at every split; no tree draws more than 5,000 rows."""
    asked = []
    monkeypatch.setattr(selection, "grow", lambda values, *_, **options: asked.append(options) or values.shape[1])
    monkeypatch.setattr(selection, "importances", np.zeros)
    for size, columns in ((1000, 600), (1000, 1200), (6000, 20)):
        select(*wide(size, columns, decides=(0, 1)), Recipe(keep=1), 1)
    assert asked[0]["share"] == 2 * asked[1]["share"] < 1 == asked[2]["share"]
    assert [options["draws"] for options in asked] == [1000, 1000, 5000]
    assert [options["leaf"] for options in asked] == [20, 20, 20]


def test_a_large_table_keeps_what_decides_the_target():
    """Also the feature that is not correlated with it."""
    values, target = wide()
    assert abs(correlations(values, target)[30]) < 0.1
    for seed in (1, 2):
        assert select(values, target, Recipe(keep=2), seed).tolist() == [30, 250]


def test_the_ranking_of_a_large_table_is_a_function_of_the_seed(monkeypatch):
    values, target = wide(300, 400)
    found = []
    for seed in (5, 5, 6):
        monkeypatch.setattr(selection, "_found", {})
        found.append(select(values, target, Recipe(keep=40), seed).tolist())
    assert found[0] == found[1] != found[2]


def test_collinear_features_beyond_one_block_go(monkeypatch):
    """Answers by an oracle that takes one feature after the other."""
    rng = np.random.default_rng(8)
    values = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 70)) + 0.8 * rng.normal(size=(60, 70))
    target = values[:, 3] + rng.normal(size=60)
    alike = np.abs(np.corrcoef(values.T))
    left: list[int] = []
    for i in np.argsort([-abs(np.corrcoef(v, target)[0, 1]) for v in values.T]):
        if all(alike[i, j] <= 0.6 for j in left):
            left.append(int(i))
    assert 10 < len(left) < 60
    for block in (1, 7, 1024):
        monkeypatch.setattr(selection, "_found", {})
        monkeypatch.setattr(selection, "_BLOCK", block)
        assert select(values, target, Recipe(collinearity=0.6), 1).tolist() == sorted(left)


def test_recipes_that_differ_in_what_they_keep_share_the_ranking(monkeypatch):
    values, target = planted()
    grown = []
    monkeypatch.setattr(selection, "_found", {})
    monkeypatch.setattr(selection, "grow", lambda *given, **options: grown.append(1) or trees.grow(*given, **options))
    for keep in (2, 1):
        select(values, target, Recipe(collinearity=0.9, keep=keep), 1)
    assert len(grown) == 1
    select(values, -(target**2), Recipe(collinearity=0.9, keep=2), 1)
    select(values, target, Recipe(collinearity=0.9, keep=2), 2)
    select(values, target, Recipe(collinearity=0.999, keep=2), 1)
    assert len(grown) == 4


@pytest.mark.parametrize("target", [np.full(9, 0.3), np.r_[0.1, 0.4, np.full(7, NAN)]])
def test_selection_without_anything_to_go_by_keeps_as_many_as_asked(target):
    values = np.random.default_rng(0).normal(size=(9, 4))
    assert len(select(values, target, Recipe(correlation=0.5, collinearity=0.5), 1)) == 4
    assert len(select(values, target, Recipe(keep=2), 1)) == 2


# ---- nothing but the fitted rows ----


@given(
    seed=st.integers(0, 1000),
    gaps=st.sampled_from(["mean", "climatology", "regress", "indicator", "drop"]),
    parts=st.sampled_from([("value",), ("anomaly",), ("value", "climatology", "anomaly")]),
    chosen=st.sampled_from(
        [{}, {"correlation": 0.2}, {"collinearity": 0.5}, {"keep": 2, "ranking": "correlation"}, {"keep": 2}]
    ),
)
def test_other_rows_do_not_matter(seed, gaps, parts, chosen):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(24, 4))
    values[rng.random(values.shape) < 0.2] = NAN
    glacier = rng.choice(list("abcdef"), 24)
    target, used = rng.normal(size=24), rng.random(24) < 0.6
    used[:3] = True
    other, aim = values.copy(), target.copy()
    other[~used] = rng.normal(50, 30, other[~used].shape)
    aim[~used] = NAN
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_RANKING_TREES", 3)
        patch.setattr(selection, "_found", {})
        a = learnt(rows(values, glacier), used, target, gaps=gaps, parts=parts, **chosen)
        patch.setattr(selection, "_found", {})
        b = learnt(rows(other, glacier), used, aim, gaps=gaps, parts=parts, **chosen)
    for name in (
        "climatology",
        "level",
        "gap_weights",
        "centre",
        "inverse_scale",
        "kept",
        "names",
        "varies",
        "weather",
    ):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    fitted = rows(values, glacier).take(used)
    np.testing.assert_array_equal(a.design(fitted).values, b.design(fitted).values)
