"""Regional series of others, and the product by region beside them, from files to tables."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

import glacmb_grid as gg
from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError
from glacmb_grid.products.exports.glambie2 import glambie2_table
from glacmb_grid.stores.formats import read_zarr

HEADER = "start_dates,end_dates,glacier_area,region,combined_gt,combined_gt_errors,combined_mwe,combined_mwe_errors,"
RESULTS = f"""{HEADER}altimetry_gt
1999.75,2000.75,49724.5,central_asia,7.5,13.4,0.15,0.27,
2000.75,2001.75,49635.5,central_asia,-15.5,12.7,-0.31,0.26,-15.2
2001.75,2002.75,,central_asia,,,-0.2,0.26,
"""


def written(folder, text, name="series.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("name", ["13_central_asia.csv", "results.csv"])
def test_results_of_glambie_come_in_both_units_with_the_number_of_the_region(tmp_path, name):
    found = gg.read_series(written(tmp_path, RESULTS, name))
    assert found["region"].tolist() == ["13"] * 5
    assert found["unit"].tolist() == ["Gt"] * 2 + ["m w.e."] * 3  # the empty cell is left out
    assert found["change"].tolist() == [7.5, -15.5, 0.15, -0.31, -0.2]
    assert found["uncertainty"].tolist() == [13.4, 12.7, 0.27, 0.26, 0.26]
    assert found["area"].fillna(0).tolist() == [49724.5, 49635.5, 49724.5, 49635.5, 0]
    assert found["begin"].astype(str).tolist()[:2] == ["1999-10-01", "2000-10-01"]
    assert found["end"].astype(str).tolist()[:2] == ["2000-10-01", "2001-10-01"]


@pytest.mark.parametrize(
    ("year", "day"),
    [("2000.0", "2000-01-01"), ("1999.25", "1999-04-01"), ("2001.5", "2001-07-01"), ("2000.0437", "2000-01-17")],
)
def test_decimal_years_are_days_and_quarters_first_days(tmp_path, year, day):
    text = f"start_dates,end_dates,region,combined_gt\n{year},2010.0,iceland,1\n"
    found = gg.read_series(written(tmp_path, text))
    assert str(found["begin"].iloc[0].date()) == day
    assert found["region"].item() == "06"


def test_what_is_exported_for_glambie_2_is_read_back(toys, tmp_path):
    regional = toys.regional()
    table = glambie2_table(regional, unit="Gt")
    path = tmp_path / "ours.csv"
    table.to_csv(path, index=False)
    found = gg.read_series([path])
    assert len(found) == len(table)
    assert set(found["region"]) == set(regional["region"].values.astype(str)) == {"13", "14"}
    rows, scores = gg.compare_series(regional, found)
    assert len(rows) == len(table)
    np.testing.assert_allclose(rows["difference"], 0, atol=1e-3 * np.abs(rows["change"]).max())
    assert scores["rmse"].max() < 1e-3 * np.abs(rows["change"]).max()


def test_plain_tables_keep_names_of_their_own(tmp_path):
    text = "region,begin,end,change,unit\nIndus,2000-10-01,2001-10-01,-1.5,Gt\n5,2000-10-01,2001-10-01,-0.2,m w.e.\n"
    found = gg.read_series(written(tmp_path, text))
    assert found["region"].tolist() == ["Indus", "5"]  # as polygons of one's own may be called
    assert found["uncertainty"].isna().all()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n", "start_dates, end_dates"),
        ("start_dates,end_dates,region\n2000,2001,iceland\n", "combined_gt or combined_mwe"),
        ("region,begin,end,change,unit\n13,2000-10-01,2001-10-01,1,mm\n", "m w.e."),
        ("region,begin,end,change,unit\n13,2000,2001-10-01,1,Gt\n", "2000-10-01"),
        ("region,begin,end,change,unit\n13,2001-10-01,2000-10-01,1,Gt\n", "end after they begin"),
        ("region,begin,end,change,unit\n13,2000-10-01,2001-10-01,much,Gt\n", "a number"),
        ("start_dates,end_dates,region,combined_gt\n,2001,iceland,1\n", "a decimal year in every row"),
    ],
)
def test_what_is_no_series_is_refused_with_its_file(tmp_path, text, told):
    with pytest.raises(InputError, match=r"series\.csv") as raised:
        gg.read_series(written(tmp_path, text))
    assert told in str(raised.value)


@pytest.mark.real
def test_the_published_series_sum_up_to_the_published_rates(real_data):
    """m w.e. a year from 2000 to 2019 as in the publication: 13 -0.167, 14 -0.132, 15 -0.470 (hydrological years)."""
    found = gg.read_series(real_data / "reference" / "glambie" / "*.csv")
    assert set(found["region"]) == {"08", "10", "11", "12", "13", "14", "15"}
    assert found["begin"].dt.strftime("%m-%d").isin(["10-01", "01-01"]).all()
    rows = found[(found["unit"] == "m w.e.") & found["begin"].between("1999-10-01", "2018-10-01")]
    for region, rate in (("13", -0.167), ("14", -0.132), ("15", -0.470)):
        assert rows[rows["region"] == region]["change"].mean() == pytest.approx(rate, abs=0.06)


# ---- in a run ----


def subregions(folder, given):
    """The world's outlines with other second-order regions, by glacier."""
    path = next(p for p in sorted((folder / "raw").rglob("*")) if p.suffix in (".shp", ".gpkg"))
    outlines = gpd.read_file(path)
    outlines.assign(o2region=given).to_file(path)
    return dict(zip(outlines["rgi_id"], given, strict=True))


def test_a_run_by_subregions_is_compared_with_series_of_others(world, tmp_path, capsys):
    regions = {"order": 2, "compare": "others.csv"}
    path = world.at(tmp_path, product={"model": "ridge", "draws": 0, "regions": regions})
    assert main(["check", str(path)]) == 1
    assert "regional series" in capsys.readouterr().err  # the file is missing
    known = subregions(tmp_path, ["13-01", "13-02"] * 3)
    text = "region,begin,end,change,unit,area\n"
    text += "".join(f"13-01,{y}-10-01,{y + 1}-10-01,-0.5,m w.e.,1000\n" for y in (2001, 2002))
    text += "13-01,2001-10-01,2002-10-01,-0.5,Gt,1000\n"
    written(tmp_path, text, "others.csv")
    assert main(["run", str(path)]) == 0
    told = capsys.readouterr().out
    out = load_config(path).store.root
    regional, glaciers = (read_zarr(out / p) for p in ("regional/regional_annual.zarr", "products/glacier_annual.zarr"))
    assert regional["region_id"].values.tolist() == ["13-01", "13-02"]
    mine = [i for i, g in enumerate(glaciers["glacier_id"].values) if known[g] == "13-01"]
    area, balance = glaciers["area"].values[mine], glaciers["mass_balance"].values[mine]
    mean = (area[:, None] * balance).sum(0) / area.sum()
    np.testing.assert_allclose(regional["mass_balance"].values[0], mean, rtol=1e-9)
    rows, scores = (pd.read_csv(out / "series" / f"{n}.csv") for n in ("rows", "scores"))
    years = regional["year"].values
    specific = rows["unit"] == "m w.e."
    np.testing.assert_allclose(rows["product"][specific], mean[np.isin(years, [2002, 2003])], rtol=1e-9)
    bias = scores.set_index("unit")["bias"]["m w.e."]
    assert bias == pytest.approx(mean[np.isin(years, [2002, 2003])].mean() + 0.5)
    np.testing.assert_allclose(scores["area_share"], area.sum() / 1000, rtol=1e-9)
    assert told.count("of its area") == 2
    assert f"of its area: bias {bias:+.3f}" in told
    assert told.count("of its area: bias") == 1  # not of gigatonnes of another area
    again = ["run", str(path), "--set", "product.regions.compare=nothing.csv"]
    written(tmp_path, text.replace("13-01", "elsewhere"), "nothing.csv")
    assert main(again) == 0
    told = capsys.readouterr().out
    assert "nothing to compare" in told
    assert "m w.e. and" not in told  # the sums themselves were current
    assert pd.read_csv(out / "series" / "scores.csv").empty


def test_outlines_without_subregions_and_intervals_that_follow_the_error(world, tmp_path, capsys):
    free = {"recipes": [{"within_reach": False}]}  # so that errors grow with dissimilarity
    path = world.run(tmp_path, models={"ff_fcnn": free, "ridge": free})
    assert main(["run", str(path)]) == 0
    before = read_zarr(tmp_path / "out" / "products" / "glacier_annual.zarr").load()
    assert main(["run", str(path), "--set", "product.intervals.follow_error=true"]) == 0
    after = read_zarr(tmp_path / "out" / "products" / "glacier_annual.zarr").load()
    np.testing.assert_array_equal(before["mass_balance"], after["mass_balance"])
    half = (after["mass_balance_upper_50"] - after["mass_balance_lower_50"]).values / 2
    ratio = half / after["expected_error"].values
    measured = after["measured"].values == 1
    spread = np.nanmax(ratio[~measured], axis=0) / np.nanmin(ratio[~measured], axis=0)
    np.testing.assert_allclose(spread, 1, rtol=1e-4)  # half widths are multiples of the expected error
    assert np.nanstd(half[~measured]) > 0
    subregions(tmp_path, [None] * 6)
    assert main(["run", str(path), "--set", "product.regions.order=2", "--stage", "regional"]) == 1
    assert "o2region" in capsys.readouterr().err


def test_subregions_and_polygons_exclude_each_other(world, tmp_path):
    path = world.at(tmp_path, product={"regions": {"order": 2, "path": "basins.gpkg"}})
    with pytest.raises(InputError, match=r"product\.regions"):
        load_config(path)
