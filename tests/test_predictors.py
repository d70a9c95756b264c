"""Annual predictors, from fields whose every value says which month it is."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.physics import positive_temperature, snow_fraction
from glacmb_grid.predictors import as_rows, build_predictors, by_year, matching, season_positions

IDS = ["a", "b", "c"]
NORTHERN = {
    "accumulation": {10, 11, 12, 1, 2, 3, 4},
    "ablation": {5, 6, 7, 8, 9},
    "summer": {6, 7, 8},
    "annual": set(range(1, 13)),
}
SOUTHERN = {name: {(m + 5) % 12 + 1 for m in months} for name, months in NORTHERN.items()}


def months(first, last):
    """Both inclusive, stamped in the middle of the month."""
    time = np.arange(first, np.datetime64(last, "M") + np.timedelta64(1, "M"), dtype="datetime64[M]")
    return time.astype("datetime64[ns]") + np.timedelta64(14, "D")


def stamp_of(time):
    month = time.astype("datetime64[M]").astype(int)
    return (month // 12 + 1970) * 100.0 + month % 12 + 1


def make_sampled(first="1999-06", last="2004-03", **fields):
    """t2m says year and month; tp says the month; glaciers differ by 10000 and 0.1."""
    time = months(first, last)
    stamp = stamp_of(time)
    defaults = {
        "t2m": stamp + np.arange(3)[:, None] * 1e4,
        "t2m_corrected": stamp + np.arange(3)[:, None] * 1e4,
        "tp": stamp % 100 + np.arange(3)[:, None] * 0.1,
        "tp_coverage": np.ones((3, len(time))),
    }
    data = {k: v for k, v in (defaults | fields).items() if v is not None}
    dims = ("glacier", "time")
    return xr.Dataset(
        {k: (dims, np.broadcast_to(v, (3, len(time)))) for k, v in data.items()}, coords={"glacier": IDS, "time": time}
    ).assign(orography=("glacier", np.array([2500.0, 2600.0, 2700.0])))


def make_terrain(spread=0.0):
    bands = 3000.0 + spread * np.linspace(-1, 2, 10)
    names = ("elevation_min", "elevation_max", "elevation_mean", "elevation_median")
    ds = xr.Dataset({n: ("glacier", np.full(3, 3000.0)) for n in names}, coords={"glacier": IDS})
    other = {n: ("glacier", np.array([0.1, 0.2, 0.3])) for n in ("slope", "northness", "eastness")}
    return ds.assign(other).assign(hypsometry=(("glacier", "band"), np.tile(bands, (3, 1))))


def make_glaciers(latitude=46.0):
    return xr.Dataset(
        {"area": ("glacier", np.array([1.0, 2.0, np.e]))},
        coords={
            "glacier": IDS,
            "longitude": ("glacier", [10.0, 11.0, 12.0]),
            "latitude": ("glacier", np.full(3, latitude)),
        },
    )


def build(sampled=None, **options):
    latitude, spread = options.pop("latitude", 46.0), options.pop("spread", 0.0)
    sampled = make_sampled() if sampled is None else sampled
    return build_predictors(sampled, make_terrain(spread), make_glaciers(latitude), **options)


def column(ds, name):
    return ds["predictors"].sel(predictor=name).values.astype(np.float64)


def calendar_year(year, month, first_month):
    """The calendar year of a month of a hydrological year."""
    return year if first_month == 1 or month < first_month else year - 1


@pytest.mark.parametrize("first_month", [10, 4, 1, 9])
def test_every_month_stands_in_its_hydrological_year(first_month):
    ds = build(first_month=first_month)
    assert ds["predictors"].dtype == np.float32
    for month in range(1, 13):
        for g in range(3):
            expected = [calendar_year(y, month, first_month) * 100 + month + g * 1e4 for y in ds["year"].values]
            np.testing.assert_array_equal(column(ds, f"t2m_{month:02d}")[g], expected)
            np.testing.assert_allclose(column(ds, f"tp_{month:02d}")[g], month + 0.1 * g, rtol=1e-6)
    assert ds.attrs["first_month"] == first_month


@pytest.mark.parametrize(
    ("first_month", "years"),
    [(10, [2000, 2001, 2002, 2003]), (4, [2001, 2002, 2003, 2004]), (1, [2000, 2001, 2002, 2003])],
)
def test_incomplete_years_are_dropped_and_bounds_kept(first_month, years):
    ds = build(first_month=first_month)
    assert ds["year"].values.tolist() == years
    start, end = ds["time_bnds"].values[0].astype("datetime64[D]")
    assert str(start) == f"{years[0] - (first_month != 1)}-{first_month:02d}-01"
    assert (end - start).astype(int) in (365, 366)


def test_a_gap_drops_only_its_year():
    sampled = make_sampled()
    sampled = sampled.isel(time=np.delete(np.arange(sampled.sizes["time"]), 20))
    lost = months("1999-06", "2004-03")[20]
    assert str(lost)[:7] == "2001-02"
    ds = build(sampled)
    assert ds["year"].values.tolist() == [2000, 2002, 2003]
    assert column(ds, "t2m_02")[0].tolist() == [200002.0, 200202.0, 200302.0]


def test_the_order_of_time_does_not_matter():
    sampled = make_sampled()
    shuffled = sampled.isel(time=np.random.default_rng(0).permutation(sampled.sizes["time"]))
    xr.testing.assert_identical(build(shuffled), build(sampled))


@pytest.mark.parametrize("first_month", [10, 4, 1, 9])
@pytest.mark.parametrize(("latitude", "seasons"), [(46.0, NORTHERN), (-46.0, SOUTHERN)])
def test_amounts_are_summed_and_states_averaged_over_the_months_of_the_season(latitude, seasons, first_month):
    ds = build(first_month=first_month, latitude=latitude)
    for season, members in seasons.items():
        np.testing.assert_allclose(column(ds, f"tp_{season}")[0], sum(members), rtol=1e-6)
        for i, year in enumerate(ds["year"].values):
            stamps = [calendar_year(year, m, first_month) * 100 + m for m in members]
            assert column(ds, f"t2m_{season}")[0, i] == pytest.approx(np.mean(stamps), rel=1e-7)


def test_positions_of_the_seasons():
    usual = {"accumulation": [*range(7)], "ablation": [*range(7, 12)], "summer": [8, 9, 10], "annual": [*range(12)]}
    assert season_positions(10, 46.0) == usual
    assert season_positions(4, -46.0) == usual
    assert season_positions(1, 46.0)["summer"] == [5, 6, 7]
    assert season_positions(1, -46.0)["summer"] == [0, 1, 11]
    assert season_positions(1, 46.0)["accumulation"] == [0, 1, 2, 3, 9, 10, 11]


@pytest.mark.parametrize("celsius", [-30.0, -2.0, 0.0, 3.0])
def test_degree_days_of_a_constant_temperature(celsius):
    sampled = make_sampled(t2m=270.0, t2m_corrected=celsius + 273.15)
    ds = build(sampled, temperature_spread=5.0)
    days = np.array([366.0, 365, 365, 365])  # February 2000 is in the first year
    expected = float(positive_temperature(celsius, 5.0))
    np.testing.assert_allclose(column(ds, "degree_days_annual"), np.tile(days * expected, (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(column(ds, "degree_days_summer"), 92 * expected, rtol=1e-6)
    np.testing.assert_allclose(column(ds, "degree_days_ablation"), 153 * expected, rtol=1e-6)
    if celsius == 0:
        assert expected == pytest.approx(5 / np.sqrt(2 * np.pi))


def test_degree_days_are_means_over_the_hypsometry():
    sampled = make_sampled(t2m=270.0, t2m_corrected=274.15)
    ds = build(sampled, spread=450.0, lapse_rate=-0.008)
    bands = 1.0 - 0.008 * 450 * np.linspace(-1, 2, 10)
    expected = 366 * np.mean([float(positive_temperature(t, 4.0)) for t in bands])
    assert column(ds, "degree_days_annual")[0, 0] == pytest.approx(expected, rel=1e-6)
    snow = np.mean([float(snow_fraction(t, 1.0, 2.0)) for t in bands]) * 78
    assert column(ds, "snowfall_annual")[0, 0] == pytest.approx(snow, rel=1e-6)


def test_snowfall_is_a_share_of_precipitation():
    time = months("1999-06", "2004-03")
    rng = np.random.default_rng(0)
    warmth = rng.uniform(250, 285, (3, len(time)))
    ds = build(make_sampled(t2m=warmth, t2m_corrected=warmth, tp=rng.gamma(2, 0.05, (3, len(time)))), spread=300.0)
    for season in NORTHERN:
        snow, total = column(ds, f"snowfall_{season}"), column(ds, f"tp_{season}")
        assert (snow >= 0).all()
        assert (snow <= total * (1 + 1e-6)).all()
    cold = build(make_sampled(t2m=220.0, t2m_corrected=220.0))
    np.testing.assert_allclose(column(cold, "snowfall_annual"), column(cold, "tp_annual"), rtol=1e-6)


def test_the_corrected_temperature_is_the_predictor_and_the_raw_one_the_forcing():
    ds = build(make_sampled(t2m=270.0, t2m_corrected=265.0))
    assert (column(ds, "t2m_07") == 265).all()
    assert (ds["temperature"] == 270).all()
    assert ds["temperature"].dims == ds["precipitation"].dims == ("glacier", "year", "month")
    assert ds["month"].values.tolist() == [10, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert ds["precipitation"].sel(month=7).values[0].tolist() == [7.0] * 4
    assert ds["orography"].values.tolist() == [2500.0, 2600.0, 2700.0]
    assert ds["days"].sel(year=2000, month=2) == 29
    assert ds["days"].sel(year=2001, month=2) == 28


def test_without_an_orography_the_forcing_is_at_the_glacier():
    ds = build(make_sampled().drop_vars("orography"))
    assert ds["orography"].values.tolist() == [3000.0] * 3


def test_precipitation_alone_makes_predictors_without_degree_days():
    ds = build(make_sampled(t2m=None, t2m_corrected=None))
    names = ds["predictor"].values.tolist()
    assert "tp_annual" in names
    assert not [n for n in names if n.startswith(("t2m", "degree", "snowfall"))]
    assert "temperature" not in ds


def test_climatology_and_anomaly_make_the_value():
    ds = build(reference=(2001, 2002))
    seasonal = [n for n in ds["predictor"].values if n.endswith("_climatology")]
    assert len(seasonal) == 4 * 4
    for name in seasonal:
        value = column(ds, name.removesuffix("_climatology"))
        climatology, anomaly = column(ds, name), column(ds, name.replace("_climatology", "_anomaly"))
        np.testing.assert_allclose(climatology + anomaly, value, rtol=1e-6)
        np.testing.assert_allclose(climatology, np.tile(value[:, [1, 2]].mean(axis=1)[:, None], 4), rtol=1e-6)
        np.testing.assert_allclose(anomaly[:, [1, 2]].sum(axis=1), 0, atol=np.abs(value).max() * 1e-6)


def test_appending_a_year_changes_no_older_value():
    rng = np.random.default_rng(1)
    time = months("1999-10", "2004-09")
    warmth, rain = rng.uniform(250, 285, (3, len(time))), rng.gamma(2, 0.05, (3, len(time)))
    longer = make_sampled("1999-10", "2004-09", t2m=warmth, t2m_corrected=warmth, tp=rain)
    new = build(longer, reference=(2000, 2002))
    old = build(longer.isel(time=slice(0, 48)), reference=(2000, 2002))
    assert new["year"].values.tolist() == [2000, 2001, 2002, 2003, 2004]
    assert new["predictors"].values[:, :4].tobytes() == old["predictors"].values.tobytes()


@pytest.mark.parametrize("reference", [(1990, 1995), (1998, 2001), (2002, 2010), (2002, 2001)])
def test_a_reference_period_that_is_not_wholly_there_is_refused(reference):
    with pytest.raises(InputError, match="reference"):
        build(reference=reference)


def test_a_reference_period_with_a_gap_is_refused():
    sampled = make_sampled()
    sampled = sampled.isel(time=np.delete(np.arange(sampled.sizes["time"]), 20))
    with pytest.raises(InputError, match=r"2000\.\.2002, of which 2 covered"):
        build(sampled, reference=(2000, 2002))


def test_a_missing_value_names_glacier_and_variable():
    sampled = make_sampled()
    sampled["tp"] = sampled["tp"].copy()
    sampled["tp"].values[1, 10] = np.nan  # April 2000
    with pytest.raises(InputError, match="1 glacier") as error:
        build(sampled)
    assert "tp_04" in error.value.found
    assert "tp_accumulation" in error.value.found
    assert "t2m" not in error.value.found
    assert error.value.found.endswith("1 glacier(s): b")


def test_a_missing_value_in_an_unused_month_is_no_error():
    sampled = make_sampled()
    sampled["tp"] = sampled["tp"].copy()
    sampled["tp"].values[1, 0] = np.nan  # June 1999
    assert np.isfinite(build(sampled)["predictors"]).all()


def test_gaps_of_the_albedo_stay_gaps():
    albedo = xr.Dataset(
        {
            "albedo_mean": (("glacier", "year"), [[0.5, np.nan], [0.6, 0.7], [0.4, 0.3]]),
            "albedo_min": (("year", "glacier"), [[0.2, 0.3, 0.1], [np.nan, 0.1, 0.2]]),
        },
        coords={"glacier": IDS, "year": [2001, 2002]},
    )
    ds = build(albedo=albedo, reference=(2000, 2003))
    nan = np.nan
    expected = [[nan, 0.5, nan, nan], [nan, 0.6, 0.7, nan], [nan, 0.4, 0.3, nan]]
    np.testing.assert_allclose(column(ds, "summer_albedo_mean"), expected, rtol=1e-6)
    expected = [[nan, 0.2, nan, nan], [nan, 0.3, 0.1, nan], [nan, 0.1, 0.2, nan]]
    np.testing.assert_allclose(column(ds, "summer_albedo_min"), expected, rtol=1e-6)


def test_coordinates_are_predictors_only_when_asked():
    assert not {"longitude", "latitude"} & set(build()["predictor"].values)
    ds = build(coordinates=True)
    np.testing.assert_allclose(column(ds, "longitude"), np.tile([[10.0], [11.0], [12.0]], 4))
    np.testing.assert_allclose(column(ds, "latitude"), 46.0)


def test_static_predictors_repeat_every_year():
    ds = build()
    np.testing.assert_allclose(column(ds, "log_area"), np.tile(np.log([[1.0], [2.0], [np.e]]), 4), rtol=1e-6)
    np.testing.assert_allclose(column(ds, "northness"), np.tile([[0.1], [0.2], [0.3]], 4), rtol=1e-6)


def test_predictors_have_unique_names():
    names = build(coordinates=True, reference=(2000, 2003))["predictor"].values.tolist()
    assert len(set(names)) == len(names)


def test_chosen_variables_only():
    names = build(monthly=["tp"])["predictor"].values.tolist()
    assert "tp_01" in names
    assert "t2m_01" not in names
    assert "degree_days_annual" in names
    assert not [n for n in build(monthly=[])["predictor"].values if n.startswith("tp_")]


def test_a_chosen_variable_that_is_not_there_is_an_error():
    with pytest.raises(InputError, match="snowdepth, ssrd") as error:
        build(monthly=["tp", "snowdepth", "ssrd"])
    assert "t2m, tp" in error.value.expected


def test_no_complete_year_is_an_error():
    with pytest.raises(InputError, match="complete hydrological year") as error:
        build(make_sampled("2000-01", "2000-11"))
    assert "11 months from 2000-01" in error.value.found


def test_a_month_given_twice_is_an_error():
    sampled = make_sampled()
    twice = xr.concat([sampled, sampled.isel(time=[10])], "time", data_vars="minimal")
    with pytest.raises(InputError, match="one value a month"):
        build(twice)


def test_other_glaciers_or_another_order_are_refused():
    good = make_sampled(), make_terrain(), make_glaciers()
    for i in range(3):
        others = list(good)
        others[i] = others[i].isel(glacier=[1, 0, 2])
        with pytest.raises(InputError, match="another order"):
            build_predictors(*others)
    albedo = xr.Dataset(
        {n: (("glacier", "year"), np.ones((3, 1))) for n in ("albedo_mean", "albedo_min")},
        coords={"glacier": ["a", "b", "x"], "year": [2001]},
    )
    with pytest.raises(ValueError, match="other glaciers"):
        build_predictors(*good, albedo=albedo)


def test_months_by_position():
    cube = by_year(make_sampled(), np.array([2001, 2003]), 10)
    assert cube["t2m"].dims == ("glacier", "year", "month")
    assert cube["t2m"].values[0, 0, [0, 3, 11]].tolist() == [200010.0, 200101.0, 200109.0]
    assert cube["t2m"].values[2, 1, 0] == 20000 + 200210
    assert "tp_coverage" not in cube
    assert cube["orography"].dims == ("glacier",)


def test_rows_are_the_chosen_glacier_years():
    ds = build()
    rows = as_rows(ds, np.array([2, 0, 2]), np.array([1, 3, 1]))
    assert rows["row_glacier"].values.tolist() == ["c", "a", "c"]
    assert rows["row_year"].values.tolist() == [2001, 2003, 2001]
    assert rows["predictors"].dims == ("row", "predictor")
    np.testing.assert_array_equal(rows["predictors"][0], ds["predictors"][2, 1])
    np.testing.assert_array_equal(rows["temperature"][1], ds["temperature"][0, 3])
    np.testing.assert_array_equal(rows["days"], ds["days"].values[[1, 3, 1]])
    assert rows["hypsometry"].dims == ("row", "band")
    assert rows["orography"].values.tolist() == [2700.0, 2500.0, 2700.0]


def test_patterns_give_positions_in_the_order_of_the_names():
    names = ["t2m_01", "t2m_summer", "tp_01", "slope", "T2M_01"]
    assert matching(names, ["*"]) == [0, 1, 2, 3, 4]
    assert matching(names, ["slope", "t2m_*"]) == [0, 1, 3]
    assert matching(names, ["t?m_01", "t2m_0[12]"]) == [0]
    assert matching(names, ["*_01"]) == [0, 2, 4]
    assert matching(names, []) == []


def test_a_pattern_without_a_match_is_an_error():
    with pytest.raises(InputError, match="'ssrd_") as error:
        matching(["t2m_01", "slope"], ["slope", "ssrd_*"])
    assert "t2m_01, slope" in error.value.remedy


# --- glaciers on both sides of the equator ---------------------------------------------------------------------------


def both_sides(latitude, sampled=None, **options):
    sampled = make_sampled() if sampled is None else sampled
    glaciers = make_glaciers().assign_coords(latitude=("glacier", latitude))
    return build_predictors(sampled, make_terrain(), glaciers, **options)


def test_each_glacier_goes_by_the_year_of_its_own_hemisphere():
    mixed = both_sides([46.0, -33.0, 8.0])
    assert mixed["glacier"].values.tolist() == IDS
    assert mixed["year"].values.tolist() == [2001, 2002, 2003], "complete on both sides"
    assert mixed["first_month"].values.tolist() == [10, 4, 10]
    for first, latitude, rows in ((10, 46.0, [0, 2]), (4, -33.0, [1])):
        alone = build(latitude=latitude, first_month=first).sel(year=[2001, 2002, 2003])
        names = mixed["predictor"].values.tolist()
        assert set(names) == set(alone["predictor"].values.tolist())
        expected = alone["predictors"].sel(predictor=names).values[rows]
        np.testing.assert_array_equal(mixed["predictors"].values[rows], expected)
        for name in ("temperature", "precipitation"):
            np.testing.assert_array_equal(mixed[name].values[rows], alone[name].values[rows])
        for row in rows:
            np.testing.assert_array_equal(mixed["days"].values[row], alone["days"].values)
            np.testing.assert_array_equal(mixed["time_bnds"].values[row], alone["time_bnds"].values)
    assert mixed["month"].values.tolist() == [*range(1, 13)]
    assert column(mixed, "t2m_01")[1].tolist() == [10000 + y * 100 + 1 for y in (2001, 2002, 2003)]
    assert column(mixed, "tp_summer")[:, 0] == pytest.approx([21.0, 15.3, 21.6]), "6+7+8, 12+1+2, 6+7+8"
    rows = as_rows(mixed, np.array([1, 0]), np.array([0, 0]))
    assert rows["days"].dims == ("row", "month")
    assert rows["days"].values[:, :4].tolist() == [[30, 31, 30, 31], [31, 30, 31, 31]]


def test_southern_glaciers_have_southern_years_unless_told_otherwise():
    assert build(latitude=-33.0).attrs["first_month"] == 4
    assert build(latitude=33.0).attrs["first_month"] == 10


def test_one_first_month_for_all_keeps_the_summer_of_each_hemisphere():
    ds = both_sides([46.0, -33.0, 8.0], first_month=8)
    assert ds.attrs["first_month"] == 8
    assert ds["days"].dims == ("year", "month")
    assert column(ds, "tp_summer")[:, 0] == pytest.approx([21.0, 15.3, 21.6])


def test_parts_of_a_region_fit_together():
    """Glaciers are made some at a time: a part that lies on one side only has the layout of the whole."""
    whole = both_sides([46.0, -33.0, -9.0])
    sampled, terrain, glaciers = make_sampled(), make_terrain(), make_glaciers()
    glaciers = glaciers.assign_coords(latitude=("glacier", [46.0, -33.0, -9.0]))
    for rows, first in (([0], [10]), ([1, 2], [4, 4])):
        own = [one.isel(glacier=rows) for one in (sampled, terrain, glaciers)]
        part = build_predictors(*own, first_month=first, years=whole["year"].values)
        xr.testing.assert_identical(part, whole.isel(glacier=rows))


def test_rates_of_each_glacier_follow_its_own_year():
    rates = xr.DataArray(
        np.linspace(-0.009, -0.003, 36).reshape(3, 12),
        dims=("glacier", "month"),
        coords={"glacier": IDS, "month": np.arange(1, 13)},
    )
    terrain, warm = make_terrain(spread=300.0), make_sampled(t2m=274.0, t2m_corrected=274.0)
    glaciers = make_glaciers().assign_coords(latitude=("glacier", [46.0, -33.0, 8.0]))
    mixed = build_predictors(warm, terrain, glaciers, lapse_rate=rates)
    south = build_predictors(warm, terrain, glaciers, lapse_rate=rates, first_month=4)
    expected = south.sel(year=mixed["year"])["predictors"].sel(predictor="degree_days_summer")[1]
    np.testing.assert_array_equal(mixed["predictors"].sel(predictor="degree_days_summer")[1], expected)
