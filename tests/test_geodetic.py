"""Geodetic rates: tables as they are published, the operator over periods, and the product beside known truth."""

from __future__ import annotations

import warnings
import zipfile

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

import glacmb_grid as gg
from glacmb_grid.config import load_config
from glacmb_grid.constraints import covered, period_operator
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.products.geodetic import statement_weights
from glacmb_grid.report.scores import geodetic_line, summary
from glacmb_grid.stores.artefacts import GEODETIC, PRODUCT, read
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.uncertainty.correlation import ErrorCorrelation, Structure
from glacmb_grid.workflow.check import check
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.runner import run
from glacmb_grid.years import year_bounds

HUGONNET = """rgiid,period,area,dhdt,err_dhdt,dvoldt,err_dvoldt,dmdt,err_dmdt,dmdtda,err_dmdtda,lat,lon
RGI60-11.00897,2000-01-01_2020-01-01,8036000,-1.16,0.05,-9.3e6,4e5,-0.0079,0.0004,-0.986,0.052,46.8,10.76
RGI60-11.00897,2000-01-01_2010-01-01,8036000,-1.0,0.1,-8e6,8e5,-0.007,0.001,-0.85,0.1,46.8,10.76
RGI60-11.00719,2000-01-01_2020-01-01,9000000,-0.9,0.06,,,,,-0.765,0.06,46.88,10.82
RGI60-11.00720,2000-01-01_2020-01-01,50000,,,,,,,,,46.9,10.9
"""
CHANGE = """country,glacier_name,glacier_id,id,begin_date,end_date,area,elevation_change,elevation_change_unc,x
AT,HINTEREIS F.,491,1,2000-01-01,2019-12-31,8036000,-19.5,1.2,
AT,VERNAGT F.,489,2,1999-09-01,2009-09-01,8600000,-9,,
AT,VERNAGT F.,489,3,2009-09-01,2018-09-01,8600000,,,-1
"""


def write(folder, text, name="rates.csv"):
    (folder / name).write_text(text)
    return folder / name


def read_quietly(folder, text, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return gg.read_geodetic(write(folder, text), **options)


def notes_of(folder, text, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        gg.read_geodetic(write(folder, text), **options)
    return "\n".join(str(one.message) for one in caught)


def refused(folder, text, **options):
    with pytest.raises((InputError, InputErrors)) as raised:
        read_quietly(folder, text, **options)
    for part in ("expected:", "found:", "remedy:"):
        assert part in str(raised.value)
    return str(raised.value)


# ---- tables ----


def test_the_rates_that_hugonnet_published(tmp_path):
    rates = read_quietly(tmp_path, HUGONNET)
    assert rates["site"].tolist() == rates["rgi_id"].tolist() == ["RGI60-11.00897"] * 2 + ["RGI60-11.00719"]
    assert rates["rate"].tolist() == [-0.986, -0.85, -0.765]
    assert rates["uncertainty"].tolist() == [0.052, 0.1, 0.06]
    assert rates["area"].tolist() == [8.036, 8.036, 9.0]
    assert rates["begin"].tolist() == ["2000-01-01"] * 3
    assert rates["end"].tolist() == ["2020-01-01", "2010-01-01", "2020-01-01"]
    assert rates["longitude"].tolist() == [10.76, 10.76, 10.82]
    assert rates["line"].tolist() == [2, 3, 4]
    told = notes_of(tmp_path, HUGONNET)
    assert "1 rows have no rate of the whole glacier" in told
    assert "periods of 1 glaciers overlap, such as those of RGI60-11.00897" in told


def test_elevation_changes_of_fluctuations_of_glaciers_by_the_density_of_huss(tmp_path):
    rates = read_quietly(tmp_path, CHANGE)
    assert rates["site"].tolist() == ["491", "489"]
    years = np.array([7304, 3653]) / 365.25
    np.testing.assert_allclose(rates["rate"], np.array([-19.5, -9]) * 0.85 / years)
    np.testing.assert_allclose(rates["uncertainty"][0], np.hypot(1.2 * 0.85, 19.5 * 0.06) / years[0])
    assert np.isnan(rates["uncertainty"][1])
    told = notes_of(tmp_path, CHANGE)
    assert "850 +- 60 kg m-3 (Huss 2013)" in told
    assert "1 of 2 rates have no uncertainty" in told
    ice = read_quietly(tmp_path, CHANGE, density=(900, 0))
    np.testing.assert_allclose(ice["rate"], np.array([-19.5, -9]) * 0.9 / years)
    np.testing.assert_allclose(ice["uncertainty"][0], 1.2 * 0.9 / years[0])


OF_AUTHORS = """glacier_name,glacier_id,begin_date,end_date,elevation_change,elevation_change_unc,investigators
A,1,2000-10-01,2010-10-01,-10,1,Meier
A,1,2000-10-01,2010-10-01,-8,1,Huber
A,1,2000-10-01,2010-10-01,-8,1,Huber
A,1,2005-10-01,2010-10-01,-6,1,Huber
B,2,2000-10-01,2010-10-01,-5,1,
"""


def test_rates_of_several_authors_are_kept_apart_and_told(tmp_path):
    rates = read_quietly(tmp_path, OF_AUTHORS, density=(1000, 0))
    assert rates["source"].tolist() == ["Meier", "Huber", "Huber", ""]
    assert rates["line"].tolist() == [2, 3, 5, 6]
    np.testing.assert_allclose(rates["rate"], np.array([-10, -8, -6, -5]) / np.array([3652, 3652, 1826, 3652]) * 365.25)
    told = notes_of(tmp_path, OF_AUTHORS)
    assert "1 rows repeat another one and are left out, line(s) 4" in told
    assert "1 periods have rates of several sources, such as 1 from 2000-10-01 to 2010-10-01 (Meier, Huber)" in told
    assert "periods of 1 glaciers overlap, such as those of 1 " in told
    both = OF_AUTHORS.replace(",Meier", ",")
    assert "columns: {source: COLUMN}" in refused(tmp_path, both)
    nameless = both.replace("investigators", "mystery")
    assert "1 from 2000-10-01 to 2010-10-01 (lines 2, 3, 4)" in refused(tmp_path, nameless)
    own = OF_AUTHORS.replace("investigators", "Wer")
    assert len(read_quietly(tmp_path, own, columns={"source": "Wer"})) == 4


def test_rates_of_several_authors_find_one_outline(tmp_path):
    rates = read_quietly(tmp_path, OF_AUTHORS)
    found = gg.link(rates, outlines("a", "b"), mapping={"1": "a", "2": "b"})
    assert found.observations["glacier"].tolist() == ["a", "a", "a", "b"]
    assert found.unmatched.empty


def test_a_release_with_its_table_of_glaciers(tmp_path):
    with zipfile.ZipFile(tmp_path / "fog.zip", "w") as archive:
        archive.writestr("data/change.csv", CHANGE)
        archive.writestr("data/glacier.csv", "id,short_name,rgi60_ids\n491,HINTEREIS F.,RGI60-11.00897\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        rates = gg.read_geodetic(tmp_path / "fog.zip")
    assert rates["site"].tolist() == ["491", "489"]
    table = gg.read_link_table(tmp_path / "fog.zip")
    linked = gg.link(rates, outlines("RGI60-11.00897", "RGI60-11.00719"), table=table)
    assert linked.observations["glacier"].tolist() == ["RGI60-11.00897"]


def test_changes_of_older_releases_need_their_unit(tmp_path):
    old = "WGMS_ID,REFERENCE_DATE,SURVEY_DATE,LOWER_BOUND,UPPER_BOUND,THICKNESS_CHG,THICKNESS_CHG_UNC\n"
    old += "491,19530899,20060899,9999,9999,-38000,1000\n491,19530899,20060899,2500,2600,-90000,1000\n"
    assert "none declared" in refused(tmp_path, old)
    (rate,) = read_quietly(tmp_path, old, units="mm")["rate"]
    assert rate == pytest.approx(-38 * 0.85 / 53, rel=1e-3)


@pytest.mark.parametrize(
    ("roles", "units", "value", "expected"),
    [
        ({"rate": "B"}, "mm w.e.", -500, -0.5),
        ({"rate": "B"}, "cm w.e.", -50, -0.5),
        ({"change": "B"}, "m w.e.", -5, -5 / (3653 / 365.25)),
        ({"elevation_rate": "B"}, "m", -0.6, -0.51),
        ({"elevation_change": "B"}, "cm", -600, -5.1 / (3653 / 365.25)),
    ],
)
def test_a_table_with_names_of_its_own(tmp_path, roles, units, value, expected):
    text = f"Gletscher;von;bis;B;Sigma\nA 1;1999-10-01;2009-10-01;{value};{abs(value) / 10}\n"
    columns = {"site": "Gletscher", "begin": "von", "end": "bis", "uncertainty": "sigma", **roles}
    (row,) = read_quietly(tmp_path, text, units=units, columns=columns, density=(850, 0)).to_dict("records")
    assert row["site"] == "A 1"
    assert row["rate"] == pytest.approx(expected)
    assert row["uncertainty"] == pytest.approx(-expected / 10)


@pytest.mark.parametrize("period", ["2000-01-01_2010-01-01", "2000-01-01/2010-01-01", "20000101-20100101", "2000-2010"])
def test_ways_to_write_a_period(tmp_path, period):
    rates = read_quietly(tmp_path, f"rgi_id,period,dmdtda\nRGI60-08.00001,{period},-0.4\n")
    assert rates[["begin", "end"]].to_numpy().tolist() == [["2000-01-01", "2010-01-01"]]


def test_short_periods_are_left_out_and_told(tmp_path):
    text = "rgiid,period,dmdtda\na,2000-01-01_2001-01-01,-0.4\na,2000-01-01_2004-01-01,-0.3\n"
    assert read_quietly(tmp_path, text)["rate"].tolist() == [-0.3]
    assert "1 rates of less than 1.45 years left out" in notes_of(tmp_path, text)
    assert read_quietly(tmp_path, text, shortest=0.5)["rate"].tolist() == [-0.4, -0.3]
    assert "at least 5 years" in refused(tmp_path, text, shortest=5)


def test_balances_over_several_years_among_annual_ones(tmp_path):
    """What `read_observations` refuses and names this way for; whether they are sums or means is the user's to say."""
    text = (
        "glacier_id,year,begin_date,end_date,annual_balance,annual_balance_unc\n491,2001,2000-10-01,2001-09-30,-1,0.2\n"
    )
    text += "491,2005,2001-10-01,2005-09-30,-4,0.8\n491,2006,,,-1,0.2\n491,2009,20069999,20090930,-3,\n"
    with pytest.raises(InputError) as raised:
        gg.read_observations(write(tmp_path, text), units="m w.e.")
    assert "geodetic: {path: FILE, columns: {change: COLUMN}}" in str(raised.value)
    years = 1460 / 365.25
    for role, per in (("change", years), ("rate", 1)):
        columns = {role: "annual_balance", "uncertainty": "annual_balance_unc"}
        (row,) = read_quietly(tmp_path, text, units="m w.e.", columns=columns).to_dict("records")
        assert (row["begin"], row["rate"]) == ("2001-10-01", pytest.approx(-4 / per))
        assert row["uncertainty"] == pytest.approx(0.8 / per)
        told = notes_of(tmp_path, text, units="m w.e.", columns=columns)
        for part in (
            "1 rows without a period",
            "1 rows with a date of unknown month",
            "1 rates of less than 1.45 years",
        ):
            assert part in told


def many(change=lambda i, v: v, rows=20, unit=1.0):
    values = np.random.default_rng(1).normal(-0.5, 0.4, rows).round(3) * unit
    lines = [f"RGI60-08.{i:05d},2000-01-01_2010-01-01,{change(i, v)},0.2,0.5" for i, v in enumerate(values)]
    return "\n".join(["rgiid,period,dmdtda,err_dmdtda,area", *lines]) + "\n"


REFUSED = {
    "no values": ("rgiid,period,balance\na,2000-2010,-1\n", {}, "columns rgiid, period, balance"),
    "cumulative": ("rgiid,time,area,dh,err_dh\na,2000-01-01,1,0,0\n", {}, "give that of rates"),
    "no identifier": ("period,dmdtda\n2000-2010,-1\n", {}, "glacier_id, wgms_id, rgiid, rgi_id"),
    "no period": ("rgiid,dmdtda\na,-1\n", {}, "columns: {period: COLUMN}"),
    "role": (HUGONNET, {"columns": {"balance": "dmdtda"}}, "roles among site"),
    "column": (HUGONNET, {"columns": {"rate": "dmdt2"}}, "columns rgiid"),
    "two values": (HUGONNET, {"columns": {"rate": "dmdtda", "elevation_rate": "dhdt"}}, "keep the one"),
    "no unit": (HUGONNET, {"columns": {"rate": "dmdt"}}, "none declared"),
    "kind of unit": (HUGONNET, {"units": "m"}, "geodetic: {units: m w.e.}"),
    "millimetres as metres": (many(unit=1000), {}, "true unit, `observations: {geodetic: {units: mm w.e.}}`"),
    "metres as millimetres": (many(), {"units": "mm w.e."}, "true unit, `observations: {geodetic: {units: m w.e.}}`"),
    "metres among millimetres": (
        many(lambda i, v: v / 1000 if i % 3 else v, unit=1000), {"units": "mm w.e."}, "as if in m w.e.",
    ),
    "code": (many(lambda i, v: -9999 if i == 3 else v), {}, "geodetic: {missing: [-9999]}"),
    "code of uncertainty": (many().replace(",0.2,", ",-9999,", 1), {}, "missing-value codes -9999"),
    "uncertainty": (many().replace(",0.2,", ",-0.2,", 1), {}, "within 0..15 m w.e."),
    "text": (many().replace(",0.2,", ",a,", 1), {}, "a number"),
    "backwards": ("rgiid,period,dmdtda\na,2010-2000,-1\n", {}, "end after they begin"),
    "no such period": ("rgiid,period,dmdtda\na,2010,-1\n", {}, "2000-01-01_2020-01-01"),
    "no such date": ("glacier_id,begin_date,end_date,elevation_change\n1,2000,2010-01-01,-1\n", {}, "YYYY-MM-DD"),
    "blank date": ("glacier_id,begin_date,end_date,elevation_change\n1,,2010-01-01,-1\n", {}, "blank in line(s) 2"),
    "twins": ("rgiid,period,dmdtda\nG01,2000-2010,-1\ng1,2000-2010,-1\n", {}, "differ only in case"),
    "twice": ("rgiid,period,dmdtda\na,2000-2010,-1\na,2000-2010,-2\n", {}, "2000-01-01 to 2010-01-01 (lines 2, 3)"),
    "areas": (many().replace(",0.2,0.5\n", ",0.2,800000\n", 1), {}, "all in km2 or all in m2"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(tmp_path, case):
    text, options, said = REFUSED[case]
    assert said in refused(tmp_path, text, **options)


def test_codes_that_are_named_are_left_out_and_others_are_measured(tmp_path):
    text = many(lambda i, v: -9 if i == 3 else v)
    assert len(read_quietly(tmp_path, text, missing=[-9])) == 19
    assert len(read_quietly(tmp_path, text, missing=[])) == 20


@pytest.mark.real
def test_all_glaciers_of_region_08(real_data):
    file = real_data / "reference" / "rgi08_geodetic_dmdtda_2000-2010-2020.csv"
    with pytest.warns(UserWarning, match="2000-2010 are taken from 1 January"):
        rates = gg.read_geodetic(file)
    raw = pd.read_csv(file)
    assert rates["site"].nunique() == raw["rgi_id"].nunique() == 3417
    np.testing.assert_array_equal(rates[["rate", "uncertainty", "area"]], raw[["dmdtda", "err_dmdtda", "area"]])
    known = raw.groupby("period").apply(lambda t: np.average(t["dmdtda"], weights=t["area"]))
    for (begin, _), mine in rates.groupby(["begin", "end"]):
        mean = np.average(mine["rate"], weights=mine["area"])
        assert mean == pytest.approx(known[f"{begin[:4]}-{int(begin[:4]) + 10}"])
        assert -1 < mean < 0


# ---- links ----


def outlines(*ids, names=None):
    boxes = [shapely.box(10 + i, 46, 10.5 + i, 46.5) for i in range(len(ids))]
    columns = {"name": names or [""] * len(ids), "area": 8.0, "longitude": 10.25, "latitude": 46.25}
    return gpd.GeoDataFrame(columns, index=pd.Index(ids, name="glacier"), geometry=boxes, crs=4326)


def test_rates_find_their_outlines_as_observations_do(tmp_path):
    rates = read_quietly(tmp_path, HUGONNET.replace(",46.88,10.82", ",46.25,11.25"))
    found = gg.link(rates, outlines("RGI50-11.00897", "RGI50-11.00719"))
    assert found.observations[["glacier", "link"]].to_numpy().tolist() == [["RGI50-11.00719", "suffix"]]
    assert len(found.unmatched) == 2
    assert "its position lies" in found.unmatched["reason"].iloc[0]  # a third of a degree north of the outline
    by_hand = gg.link(rates, outlines("RGI50-11.00897", "RGI50-11.00719"), mapping={"RGI60-11.00897": "RGI50-11.00897"})
    assert by_hand.observations["link"].tolist() == ["mapping", "mapping", "suffix"]


def test_a_reason_has_the_line_of_its_own_section(tmp_path):
    found = gg.link(read_quietly(tmp_path, CHANGE), outlines("a", "b", names=["Hintereisferner", "Taschachferner"]))
    assert "`observations: {geodetic: {mapping: {'491': a}}}`" in found.unmatched["reason"].iloc[0]


def test_rates_of_several_sites_in_one_outline_are_of_none(tmp_path):
    lines = "rgiid,period,dmdtda,lat,lon\n"
    lines += "RGI60-1,2000-2010,-1,46.1,10.1\nRGI60-2,2000-2010,-0.5,46.2,10.2\nRGI60-3,2010-2020,-0.5,46.2,10.2\n"
    found = gg.link(read_quietly(tmp_path, lines), outlines("G-1"))
    assert found.observations["site"].tolist() == ["RGI60-3"]
    assert found.unmatched["reason"].tolist() == ["one of several sites on G-1 in this period: RGI60-1, RGI60-2"] * 2


# ---- the operator ----


def by_days(begin, end, bounds):
    """Shares of years in a period, day by day; None where a day is of no year."""
    shares = np.zeros(len(bounds))
    for day in np.arange(begin, end):
        (inside,) = np.nonzero((bounds[:, 0] <= day) & (day < bounds[:, 1]))
        if not len(inside):
            return None
        shares[inside[0]] += 1 / (bounds[inside[0], 1] - bounds[inside[0], 0]).astype(int)
    return shares


def test_the_share_of_every_year_is_that_of_its_days():
    rng = np.random.default_rng(3)
    years = np.array([1999, 2000, 2001, 2002, 2003, 2005, 2006, 2007])  # without 2004
    bounds = np.stack([year_bounds(years, 10), year_bounds(years, 4), year_bounds(years, 1)])
    begin = np.datetime64("1998-01-01") + rng.integers(0, 3600, 60).astype("timedelta64[D]")
    end = begin + rng.integers(1, 1800, 60).astype("timedelta64[D]")
    glacier = rng.integers(0, 3, 60)
    operator = period_operator(begin, end, glacier, bounds)
    dense = np.zeros((60, 3 * len(years)))
    dense[operator.row, operator.column] = operator.weight
    whole = covered(operator)
    assert 5 < whole.sum() < 55
    for row in range(60):
        shares = by_days(begin[row], end[row], bounds[glacier[row]])
        assert whole[row] == (shares is not None)
        if shares is not None:
            expected = np.zeros((3, len(years)))
            expected[glacier[row]] = shares
            np.testing.assert_allclose(dense[row], expected.ravel(), atol=1e-12)
            days = (end[row] - begin[row]).astype(int)
            assert operator.total[row] == pytest.approx(days / 365.25, abs=0.003)


def test_twenty_calendar_years_by_hand():
    years = np.arange(2000, 2021)
    operator = period_operator(
        np.array(["2000-01-01"], "M8[D]"),
        np.array(["2020-01-01"], "M8[D]"),
        np.array([0]),
        year_bounds(years, 10)[None],
    )
    assert operator.weight.tolist() == [274 / 366, *[1.0] * 19, 92 / 366]
    assert operator.total.tolist() == [pytest.approx(20.0, abs=1e-12)]
    assert covered(operator).all()


# ---- the product beside them ----


def product_of(balance, years, sigma=0.1, measured=None, first_month=10):
    """A product with this balance, (glacier, year)."""
    glaciers = len(balance)
    bounds = year_bounds(np.asarray(years), first_month)
    place = ("glacier", np.zeros(glaciers))
    return xr.Dataset(
        {
            "mass_balance": (("glacier", "year"), balance, {"units": "m"}),
            "mass_balance_uncertainty": (("glacier", "year"), np.full(np.shape(balance), sigma)),
            "area": ("glacier", np.arange(1.0, glaciers + 1)),
            "measured": ("glacier", np.zeros(glaciers, np.int8) if measured is None else measured),
            "observed_period": ("year", np.ones(len(years), np.int8)),
            "time_bnds": (("year", "bnds"), bounds.astype("datetime64[ns]")),
        },
        coords={
            "glacier_id": ("glacier", np.array([f"g{i}" for i in range(glaciers)], dtype=object)),
            "year": years,
            "time": ("year", bounds[:, 0].astype("datetime64[ns]")),
            "longitude": place,
            "latitude": place,
        },
    )


def rates_of(rates, begin, end, sigma=0.1):
    ids = [f"g{i}" for i in range(len(rates))]
    columns = {"site": ids, "glacier": ids, "link": "exact", "name": "", "rgi_id": "", "area": np.nan, "line": 2}
    return pd.DataFrame({**columns, "begin": begin, "end": end, "rate": rates, "uncertainty": sigma})


def test_a_product_that_is_the_truth_is_off_by_nothing():
    rng = np.random.default_rng(4)
    years = np.arange(2000, 2021)
    truth = rng.normal(-0.5, 0.7, (30, len(years)))
    begin, end = np.datetime64("2001-03-15"), np.datetime64("2018-11-02")
    shares = by_days(begin, end, year_bounds(years, 10))
    rates = rates_of(truth @ shares / shares.sum(), str(begin), str(end))
    compared, outside = gg.compare_geodetic(product_of(truth, years), rates)
    np.testing.assert_allclose(compared["difference"], 0, atol=1e-12)
    assert outside.empty
    wrong = rng.normal(0, 0.3, truth.shape)
    compared, _ = gg.compare_geodetic(product_of(truth + wrong, years), rates)
    np.testing.assert_allclose(compared["difference"], wrong @ shares / shares.sum())


def test_errors_that_persist_do_not_average_out_over_a_period():
    """Two whole years, sigma 0.5: all persistent 0.5, all independent 0.5 / sqrt(2), half and half between."""
    product = product_of([[-1.0, 0.0]], [2001, 2002], sigma=0.5)
    rates = rates_of([-0.5], "2000-10-01", "2002-10-01")
    for level, yearly, nugget, autocorrelation, expected in (
        (1.0, 0.0, 0.0, 0.0, 0.5),
        (0.0, 0.0, 1.0, 0.0, 0.5 / 2**0.5),
        (0.5, 0.0, 0.5, 0.0, 0.5 * 0.75**0.5),
        (0.0, 1.0, 0.0, 0.4, 0.5 * 0.7**0.5),
    ):
        structures = (Structure(level, 100.0, 1.0), Structure(yearly, 50.0, autocorrelation))
        attrs = ErrorCorrelation(structures, nugget).to_attrs()
        compared, _ = gg.compare_geodetic(product.assign_attrs(attrs), rates)
        np.testing.assert_allclose(compared["product_uncertainty"], expected)


def test_scores_by_hand():
    years = [2001, 2002]
    product = product_of([[-1.0, 0.0], [0.0, 0.0], [1.0, 1.0]], years, sigma=0.5, measured=np.array([1, 0, 0], np.int8))
    rates = rates_of([-0.5, -0.2, 0.4], "2000-10-01", "2002-10-01", sigma=[0.1, 0.1, np.nan])
    compared, _ = gg.compare_geodetic(product, rates)
    np.testing.assert_allclose(compared["difference"], [0.0, 0.2, 0.6])
    np.testing.assert_allclose(compared["product_uncertainty"], 0.5)
    scores = gg.score_geodetic(compared).set_index(["slice", "metric"])
    value = scores["value"]["all"]
    assert value["product"] == pytest.approx((-0.5 + 0 + 3) / 6)
    assert value["geodetic"] == pytest.approx((-0.5 - 0.4 + 1.2) / 6)
    assert value["regional_difference"] == pytest.approx((0.4 + 1.8) / 6)
    assert value["bias"] == pytest.approx(0.8 / 3)
    assert value["rmse"] == pytest.approx(np.sqrt((0.04 + 0.36) / 3))
    assert (value["geodetic_coverage"], value["joint_coverage"]) == (0.5, 1.0)
    assert scores["n"]["all"].tolist() == [3, 3, 3, 3, 3, 2, 2, 3]
    assert value["statements"] == 3
    assert scores["value"]["measured"]["bias"] == pytest.approx(0.0)
    assert scores["value"]["unmeasured"]["bias"] == pytest.approx(0.4)
    assert set(scores.index.get_level_values(0)) == {"all", "measured", "unmeasured"}


@pytest.mark.parametrize(
    ("periods", "weights"),
    [
        ([("2000-01-01", "2010-01-01")], [1]),
        ([("2000-01-01", "2010-01-01")] * 3, [1 / 3] * 3),
        ([("2000-01-01", "2010-01-01"), ("2010-01-01", "2020-01-01")], [1, 1]),
        ([("2000-01-01", "2000-01-21"), ("2000-01-01", "2000-01-11"), ("2000-01-11", "2000-01-21")], [0.5] * 3),
        ([("2000-01-01", "2000-01-11"), ("2000-01-09", "2000-01-13")], [9 / 10, 3 / 4]),
    ],
)
def test_a_day_that_several_rates_cover_counts_once(periods, weights):
    """Also where rates of other glaciers stand between them, in any order."""
    rows = [("a", *p) for p in periods] + [("b", "2000-01-01", "2010-01-01")]
    order = np.random.default_rng(0).permutation(len(rows))
    glacier, begin, end = (np.array([rows[i][k] for i in order]) for k in range(3))
    found = statement_weights(glacier, begin.astype("M8[D]"), end.astype("M8[D]"))
    np.testing.assert_allclose(found, np.array([*weights, 1.0])[order])


def test_a_glacier_with_rates_of_two_authors_weighs_as_one():
    """g0 is off by 0.4 after one author and by 0.2 after the other, g1 by 0.6: the mean of 0.3 and 0.6."""
    product = product_of(np.zeros((2, 2)), [2001, 2002])
    rates = rates_of([-0.4, -0.6], "2000-10-01", "2002-10-01").assign(source="Meier")
    other = rates.iloc[:1].assign(rate=-0.2, source="Huber")
    compared, _ = gg.compare_geodetic(product, pd.concat([rates, other], ignore_index=True))
    assert compared["weight"].values.tolist() == [0.5, 1.0, 0.5]
    assert compared["source"].values.tolist() == ["Meier", "Meier", "Huber"]
    scores = gg.score_geodetic(compared)
    value = scores[scores["slice"] == "all"].set_index("metric")["value"]
    assert value["bias"] == pytest.approx(0.45)
    assert value["rmse"] == pytest.approx(np.sqrt(((0.4**2 + 0.2**2) / 2 + 0.6**2) / 2))
    assert value["regional_difference"] == pytest.approx((1 * 0.3 + 2 * 0.6) / 3)
    assert value["statements"] == 2
    assert "product minus 3 geodetic rates (that weigh as 2), m w.e. a year" in geodetic_line(scores)


def test_periods_of_many_rates_are_scored_apart():
    years = [2001, 2002, 2003, 2004]
    balance = np.tile([0.0, 0.0, 1.0, 1.0], (12, 1))
    early, late = rates_of([0.0] * 12, "2000-10-01", "2002-10-01"), rates_of([0.5] * 12, "2002-10-01", "2004-10-01")
    compared, _ = gg.compare_geodetic(product_of(balance, years), pd.concat([early, late]))
    bias = gg.score_geodetic(compared).set_index(["metric", "slice"])["value"]["bias"]
    assert bias["2000-10-01 to 2002-10-01"] == pytest.approx(0.0)
    assert bias["2002-10-01 to 2004-10-01"] == pytest.approx(0.5)
    assert bias["all"] == pytest.approx(0.25)


def test_periods_beyond_the_product_and_failed_glaciers_are_named_not_compared():
    product = product_of(np.zeros((2, 2)), [2001, 2002])
    rates = rates_of([0.0, 0.0, 0.0], ["2000-10-01", "2000-09-30", "2000-10-01"], "2002-10-01")
    compared, outside = gg.compare_geodetic(product, rates)
    assert compared["glacier"].values.tolist() == ["g0"]
    reasons = dict(zip(outside["site"], outside["reason"], strict=True))
    assert reasons["g2"] == "its glacier failed, see failed.csv"
    assert reasons["g1"] == "the years of the product, within 2000-10-01 to 2002-10-01, do not cover its period"


def test_none_to_compare_is_said():
    compared, outside = gg.compare_geodetic(
        product_of(np.zeros((1, 1)), [2001]), rates_of([0.0], "1990-10-01", "1995-10-01")
    )
    assert (compared.sizes["survey"], len(outside)) == (0, 1)
    assert geodetic_line(gg.score_geodetic(compared)) == "no geodetic rate to compare with"


def test_glaciers_with_years_of_their_own():
    years = np.arange(2001, 2006)
    truth = np.random.default_rng(5).normal(0, 1, (2, len(years)))
    bounds = np.stack([year_bounds(years, 10), year_bounds(years, 4)])
    product = product_of(truth, years).assign(time_bnds=(("glacier", "year", "bnds"), bounds.astype("datetime64[ns]")))
    product = product.assign_coords(time=(("glacier", "year"), bounds[..., 0].astype("datetime64[ns]")))
    begin, end = np.datetime64("2001-01-01"), np.datetime64("2005-01-01")
    shares = np.stack([by_days(begin, end, b) for b in bounds])
    rates = rates_of((truth * shares).sum(axis=1) / shares.sum(axis=1), str(begin), str(end))
    compared, _ = gg.compare_geodetic(product, rates)
    np.testing.assert_allclose(compared["difference"], 0, atol=1e-12)


# ---- in a run ----

PERIOD = ("2001-01-01", "2004-06-30")


@pytest.fixture(scope="module")
def judged(world, tmp_path_factory):
    """A finished run, to which rates of the truth were added: the truth over a period, one rate off by a metre."""
    folder = tmp_path_factory.mktemp("geodetic")
    path = world.run(folder, link=True, observations={"geodetic": {"path": "rates.csv"}})
    with xr.open_dataset(folder / "raw" / "truth.nc") as ds:
        ids, balance, years = ds["glacier_id"].values.astype(str), ds["mass_balance"].values, ds["year"].values
    shares = by_days(*(np.datetime64(d) for d in PERIOD), year_bounds(years, 10))
    rates = balance.reshape(len(ids), -1) @ shares / shares.sum()
    lines = [f"{i},{PERIOD[0]}_{PERIOD[1]},{float(r)!r},0.1" for i, r in zip(ids, rates, strict=True)]
    lines += [f"{ids[0]},1980-01-01_2000-01-01,-1,0.1", "RGI60-13.00001,2000-01-01_2020-01-01,-1,0.1"]
    write(folder, "\n".join(["rgiid,period,dmdtda,err_dmdtda", *lines]) + "\n")
    said = []
    ran = run(load_config(path), say=said.append)
    return path, ran, "\n".join(said), (ids, balance.reshape(len(ids), -1), shares)


def test_nothing_is_learnt_from_geodetic_rates(judged):
    path, ran, _, _ = judged
    assert ran == ["geodetic/links", "geodetic/comparison"]
    without = load_config(path, ["observations.geodetic=null"])
    assert {state for name, state, _ in status(without) if name not in ("audit", "study")} == {"current"}
    assert run(load_config(path), say=lambda _: None) == []
    changed = load_config(path, ["observations.geodetic.shortest=2"])
    stale = {name: why for name, state, why in status(changed) if state == "stale"}
    assert stale == {
        "geodetic/links": "setting observations.geodetic.shortest: 1.45 -> 2.0",
        "geodetic/comparison": "stage geodetic/links changed",
    }


def test_what_a_run_writes_is_the_product_less_the_truth(judged):
    path, _, said, (ids, balance, shares) = judged
    store = RunStore(load_config(path).root)
    product, table = read(store, PRODUCT), read(store, GEODETIC["rates"])
    mine = product["mass_balance"].values[product["glacier_id"].values.tolist().index(ids[1])]
    (row,) = table[table["glacier"] == ids[1]].to_dict("records")
    assert row["difference"] == pytest.approx((mine - balance[1]) @ shares / shares.sum(), abs=1e-6)
    assert (row["begin"], row["end"], row["link"]) == (*PERIOD, "exact")
    np.testing.assert_allclose(read(store, GEODETIC["compared"])["difference"], table["difference"])
    scores = read(store, GEODETIC["scores"])
    (bias,) = scores[(scores["slice"] == "all") & (scores["metric"] == "bias")]["value"]
    assert bias == pytest.approx(table["difference"].mean())
    left_out = read(store, GEODETIC["left_out"])
    assert left_out["site"].tolist() == ["RGI60-13.00001", ids[0]]
    assert "no outline with this identifier" in left_out["reason"].iloc[0]
    assert "do not cover its period" in left_out["reason"].iloc[1]
    assert geodetic_line(scores) in said
    assert "not compared: 1 rates: no outline with this identifier" in said
    assert "; 1 rates: the years of the product" in said


def test_check_says_what_would_be_compared(judged):
    path, _, _, (ids, *_) = judged
    found = "\n".join(check(load_config(path)))
    assert f"{len(ids) + 1} geodetic rates of {len(ids)} glaciers, 1 rows without an outline" in found
    assert "1 of 7 geodetic rates are of periods that the hydrological years 2001..2004 do not cover whole" in found
    assert "geodetic rates: unmatched: 1 site(s): no outline with this identifier" in found


def test_the_summary_of_a_run_has_the_comparison(judged):
    config = load_config(judged[0])
    lines = list(summary(config, {name: state for name, state, _ in status(config)}))
    assert sum(line.startswith("\nproduct minus 6 geodetic rates, m w.e. a year: ") for line in lines) == 1


def test_changes_over_a_period_named_as_rates_are_refused(tmp_path):
    rows = [f"RGI60-11.{n:05d},2000-01-01_2020-01-01,{-10.0 - 0.1 * n:.2f},0.3,1.0" for n in range(8)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["rgiid,period,dmdtda,err_dmdtda,area", *rows]) + "\n")
    with pytest.raises(InputError, match=r"median of -10\.4") as raised:
        gg.read_geodetic(path)
    assert "change: COLUMN" in str(raised.value)
