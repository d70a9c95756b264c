"""Products in the layouts of others, and the command that writes them."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError
from glacmb_grid.products.exports.glambie2 import COLUMNS, glambie2_table, measured_share
from glacmb_grid.products.exports.tables import named_with_unit, table_of, tables_of_blocks
from glacmb_grid.products.exports.wgms_grid import NAMES, wgms_grid
from glacmb_grid.products.gridded import gridded_product
from glacmb_grid.stores import exports
from glacmb_grid.stores.artefacts import REGIONAL
from glacmb_grid.stores.exports import exporting
from glacmb_grid.stores.formats import write_netcdf, write_zarr
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.workflow.export import LAYOUTS, export


def quiet(_):
    """Say nothing."""


# ---- months of GlaMBIE-2 ----

SEASON = (0.1, 0.1, 0.1, 0.1, 0.0, -0.1, -0.3, -0.2, 0.0, 0.1, 0.1, 0.1)


def yearly(table, regional):
    """Sums over hydrological years, (region, year), of a table read back from its text."""
    start = pd.to_datetime(table["start_date"], format="%d/%m/%Y")
    year = start.dt.year + (start.dt.month >= 10)
    return table.assign(year=year).groupby(["region_id", "year"], sort=True)


@pytest.mark.parametrize("season", [None, SEASON])
@pytest.mark.parametrize(("unit", "name"), [("mwe", "mass_balance"), ("Gt", "mass_change_gt")])
def test_months_sum_up_to_the_year_as_written(toys, tmp_path, unit, name, season):
    regional = toys.regional()
    glambie2_table(regional, unit=unit, season=season).to_csv(tmp_path / "g.csv", index=False, float_format="%.12f")
    table = pd.read_csv(tmp_path / "g.csv")
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 2 * 6 * 12
    sums = yearly(table, regional)["glacier_change_observed"].sum().to_numpy().reshape(2, 6)
    np.testing.assert_allclose(sums, regional[name].values, rtol=0, atol=1e-9)
    squares = yearly(table, regional)["glacier_change_uncertainty"].apply(lambda s: np.sqrt((s**2).sum()))
    sigma = regional[f"{name}_uncertainty"].values
    np.testing.assert_allclose(squares.to_numpy().reshape(2, 6), sigma, atol=1e-9)
    assert not table.drop(columns="observational_coverage_percentage").isna().any().any()
    assert (table["unit"] == unit).all()
    assert table["remarks"].str.contains("approximation").all()


def test_months_follow_one_another_without_gaps(toys):
    table = glambie2_table(toys.regional(firsts=(10, 4)))
    for number, region in table.groupby("region_id"):
        assert (region["end_date"].to_numpy()[:-1] == region["start_date"].to_numpy()[1:]).all()
        first = {13: "01/10/2000", 14: "01/04/2000"}[number]
        assert region["start_date"].iloc[0] == first
        days = [pd.to_datetime(region[n], format="%d/%m/%Y") for n in ("start_date", "end_date")]
        assert (days[1] - days[0]).dt.days.between(28, 31).all()
    assert table["region_id"].is_monotonic_increasing


def test_a_month_by_hand(toys):
    regional = toys.regional(years=(2001, 2001), firsts=(10,), ids=("RGI60-11",))
    regional["mass_balance"].values[:] = -3.65
    regional["mass_balance_uncertainty"].values[:] = 0.365
    regional["area"].values[:] = 2000.0
    table = glambie2_table(regional, coverage={"11": 12.344})
    october = table.iloc[0]
    assert (october["region_id"], october["start_date"], october["end_date"]) == (11, "01/10/2000", "01/11/2000")
    assert october["glacier_change_observed"] == pytest.approx(-0.31)
    assert october["glacier_change_uncertainty"] == pytest.approx(0.365 * np.sqrt(31 / 365))
    assert (october["glacier_area_reference_start"], october["observational_coverage_percentage"]) == (2000.0, 12.34)
    seasonal = glambie2_table(regional, season=[1.0] + 11 * [0.0])
    assert seasonal.iloc[3]["glacier_change_observed"] == pytest.approx((-3.65 - 1) * 31 / 365 + 1)  # January


def test_equal_departures_of_all_months_are_no_season(toys):
    even, same = glambie2_table(toys.regional()), glambie2_table(toys.regional(), season=np.diff(
        np.arange("2001-01", "2002-02", dtype="datetime64[M]").astype("datetime64[D]")).astype(float))  # fmt: skip
    leap = even["start_date"].str.contains("2003|2004")
    columns = ["glacier_change_observed"]
    np.testing.assert_allclose(even.loc[~leap, columns], same.loc[~leap, columns], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (lambda ds: ds, {"unit": "gt"}, "mwe or Gt"),
        (lambda ds: ds, {"season": [1.0] * 11}, "twelve"),
        (lambda ds: ds, {"season": [np.nan] * 12}, "twelve"),
        (lambda ds: ds.assign_coords(region=["13-01", "14"]), {}, "13-01"),
        (lambda ds: ds.assign_coords(region=["basin", "14"]), {}, "basin"),
        (lambda ds: ds.assign_coords(region=["13", "20"]), {}, "20"),
        (lambda ds: ds.assign_coords(region=["13", "RGI60-13"]), {}, "each once"),
        (lambda ds: ds.isel(year=[0, 1, 3]), {}, "2002-10-01, then 2003-10-01"),
        (lambda ds: ds.where(ds["year"] != 2003), {}, "mass_balance"),
        (lambda ds: ds.assign(mass_balance_uncertainty=ds["mass_balance_uncertainty"] * np.nan), {}, "uncertainty"),
    ],
)
def test_what_glambie_does_not_take_is_refused(toys, change, more, message):
    regional = toys.regional()
    kept = {n: regional[n] for n in ("time_bnds", "time")}
    changed = change(regional)
    if "time_bnds" in changed and changed["time_bnds"].isnull().any():
        changed = changed.assign_coords(kept)
    with pytest.raises(InputError, match=message):
        glambie2_table(changed, **more)


def test_a_region_with_years_that_overlap_is_refused(toys):
    regional = toys.regional(firsts=(10, 4))
    wide = regional["time_bnds"].values.copy()
    wide[0, :, 0] -= np.timedelta64(182, "D")
    regional = regional.assign_coords(time_bnds=(("region", "year", "bnds"), wide))
    with pytest.raises(InputError, match="region 13"):
        glambie2_table(regional)


def test_the_observed_share_of_area(toys):
    product = toys.product(glaciers=4)  # all in 13; the second and fourth are measured
    product["area"].values[:] = [1, 2, 3, 4]
    ids = ["RGI60-13.00001", "RGI2000-v7.0-G-13-00002", "RGI60-14.00003", "own"]
    product = product.assign_coords(glacier_id=("glacier", np.array(ids, object)))
    assert measured_share(product) == {"13": pytest.approx(200 / 3), "14": 0.0}


# ---- the grid of WGMS ----


@pytest.fixture
def gridded(toys):
    return gridded_product(toys.product(glaciers=6), split="centroid")


def test_the_grid_has_the_names_and_the_extent_of_wgms(gridded):
    made = wgms_grid(gridded)
    assert set(NAMES) <= set(made.data_vars)
    assert made["glacier_mass_change_gt"].dims == ("time", "lat", "lon")
    assert made.sizes["lat"] == 360
    assert made["lat"].values[[0, -1]].tolist() == [89.75, -89.75]
    assert made["lon"].values[[0, -1]].tolist() == [-179.75, 179.75]
    assert made["glacier_mass_change_gt"].attrs["units"] == "Gt"
    assert made["glacier_mass_change_mwe"].attrs["units"] == "m"
    for theirs, ours in NAMES.items():
        sums = made[theirs].sum(("lat", "lon")), gridded[ours].sum(("latitude", "longitude"))
        np.testing.assert_allclose(*sums, rtol=1e-5)
    cell = gridded["mass_balance"].notnull().any("time")
    y, x = (int(v[0]) for v in np.nonzero(cell.values))
    at = {"lat": float(gridded["latitude"][y]), "lon": float(gridded["longitude"][x])}
    np.testing.assert_allclose(made["glacier_mass_change_mwe"].sel(at), gridded["mass_balance"][:, y, x], rtol=1e-6)


def test_the_grid_of_a_part_of_the_globe(gridded):
    made = wgms_grid(gridded, whole=False)
    assert made.sizes["lat"] == gridded.sizes["latitude"]
    with pytest.raises(InputError, match=r"0\.5 degrees"):
        wgms_grid(gridded_product_of(gridded))


def gridded_product_of(gridded):
    """Cells that are shifted by a tenth of a degree."""
    return gridded.assign_coords(latitude=gridded["latitude"] + 0.1)


def test_a_grid_beyond_the_antimeridian_finds_its_cells(toys):
    product = toys.product(glaciers=2).assign_coords(
        longitude=("glacier", [179.8, -179.8]), latitude=("glacier", [70.2, 70.2])
    )
    made = wgms_grid(gridded_product(product, split="centroid"))
    filled = made["glacier_mass_change_gt"].notnull().any(("time", "lat"))
    assert made["lon"].values[filled.values].tolist() == [-179.75, 179.75]


def test_the_exported_grid_passes_the_compliance_checker(gridded, compliance, tmp_path):
    write_netcdf(wgms_grid(gridded), tmp_path / "g.nc")
    found = compliance(tmp_path / "g.nc")
    assert found["cf:1.11"] == []
    assert {m for w, _, m in found["acdd:1.3"] if w == 3} <= {"standard_name"}


# ---- tables ----


def test_a_row_for_each_glacier_and_year(toys):
    product = toys.product(glaciers=3, draws=2)
    table = table_of(product, "glacier")
    assert len(table) == 18
    assert list(table.columns[:4]) == ["glacier_id", "year", "start_date", "end_date"]
    row = table[(table["glacier_id"] == "RGI60-13.00001") & (table["year"] == 2003)].iloc[0]
    assert row["mass_balance_m"] == product["mass_balance"].values[1, 2]
    assert (row["start_date"], row["end_date"]) == ("2002-10-01", "2003-10-01")
    assert row["area_km2"] == product["area"].values[1]
    assert row["measured"] == "measured"
    assert not [c for c in table.columns if "realization" in c or "bnds" in c]
    pd.testing.assert_frame_equal(pd.concat(tables_of_blocks(product, "glacier", 2), ignore_index=True), table)


def test_dates_of_glaciers_with_their_own_years(toys):
    table = table_of(toys.product(glaciers=2, firsts=(10, 4)), "glacier")
    assert table.groupby("glacier_id")["start_date"].first().tolist() == ["2000-10-01", "2000-04-01"]


def test_a_row_for_each_region_and_year(toys):
    table = table_of(toys.regional(), "region")
    assert len(table) == 12
    assert {"region_id", "region_name", "mass_change_gt", "mass_balance_uncertainty_independent_m"} <= set(table)
    assert not [c for c in table.columns if "covariance" in c or "other" in c]


@pytest.mark.parametrize(
    ("name", "units", "column"),
    [
        ("mass_balance", "m", "mass_balance_m"),
        ("mass_change_gt", "Gt", "mass_change_gt"),
        ("mass_change_gt_uncertainty", "Gt", "mass_change_gt_uncertainty"),
        ("mass_change_amount", "kg m-2", "mass_change_amount_kg_m2"),
        ("nets", "1", "nets"),
        ("nearest_measured_km", "km", "nearest_measured_km"),
    ],
)
def test_names_of_columns_say_the_unit(name, units, column):
    assert named_with_unit(name, units) == column


# ---- files ----


def write(folder, name, text):
    with exporting(folder, name) as aside:
        aside.write_text(text)


def test_a_file_of_ours_is_replaced_and_a_file_of_others_never(tmp_path):
    folder = tmp_path / "out" / "exports"
    write(folder, "a.csv", "1")
    write(folder, "b.csv", "2")
    write(folder, "a.csv", "3")
    assert (folder / "a.csv").read_text() == "3"
    (folder / "a.csv").write_text("edited")
    with pytest.raises(InputError, match="changed since"):
        write(folder, "a.csv", "4")
    assert (folder / "a.csv").read_text() == "edited"
    (folder / "c.csv").write_text("theirs")
    with pytest.raises(InputError, match="did not write"):
        write(folder, "c.csv", "4")
    write(folder, "b.csv", "5")


def test_a_folder_of_others_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="without our mark"):
        write(tmp_path, "a.csv", "1")
    assert not (tmp_path / "a.csv").exists()


def test_a_link_is_not_followed(tmp_path):
    write(tmp_path / "e", "a.csv", "1")
    (tmp_path / "theirs.csv").write_text("x")
    (tmp_path / "e" / "b.csv").symlink_to(tmp_path / "theirs.csv")
    with pytest.raises(InputError, match="did not write"):
        write(tmp_path / "e", "b.csv", "1")
    assert (tmp_path / "theirs.csv").read_text() == "x"


def test_a_failed_export_leaves_the_file_before_it(tmp_path):
    write(tmp_path / "e", "a.csv", "1")

    def fail(aside):
        aside.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError), exporting(tmp_path / "e", "a.csv") as aside:
        fail(aside)
    assert (tmp_path / "e" / "a.csv").read_text() == "1"
    assert sorted(p.name for p in (tmp_path / "e").iterdir()) == [".glacmb_grid.json", "a.csv"]


@pytest.mark.parametrize("fall", ["before", "after"])
def test_after_a_fall_between_mark_and_file_both_are_ours(tmp_path, monkeypatch, fall):
    folder = tmp_path / "e"
    write(folder, "a.csv", "1")
    marked = exports.write_mark
    if fall == "before":

        def fallen(*args, **more):
            marked(*args, **more)
            raise KeyboardInterrupt

        monkeypatch.setattr(exports, "write_mark", fallen)
    else:
        calls = []

        def fallen(*args, **more):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            marked(*args, **more)

        monkeypatch.setattr(exports, "write_mark", fallen)
    with pytest.raises(KeyboardInterrupt):
        write(folder, "a.csv", "2")
    assert (folder / "a.csv").read_text() == {"before": "1", "after": "2"}[fall]
    monkeypatch.setattr(exports, "write_mark", marked)
    write(folder, "a.csv", "3")
    assert (folder / "a.csv").read_text() == "3"


# ---- the command ----


def test_a_run_is_exported_as_tables_and_as_a_grid(world, tmp_path, capsys):
    config = str(world.run(tmp_path, link=True))
    assert main(["export", config, "csv"]) == 0
    told = capsys.readouterr().out
    folder = tmp_path / "out" / "exports" / "csv"
    assert f"wrote {folder / 'glacier_annual.csv'}" in told
    table = pd.read_csv(folder / "glacier_annual.csv")
    with xr.open_dataset(tmp_path / "out" / "products" / "glacier_annual.nc") as ds:
        assert len(table) == ds["mass_balance"].size
        np.testing.assert_allclose(table["mass_balance_m"], ds["mass_balance"].values.ravel(), rtol=1e-6)
        whole = float((ds["mass_balance"].astype(float) * ds["area"]).sum()) / 1e3
    before = (folder / "glacier_annual.csv").read_bytes()
    assert main(["export", config, "csv"]) == 0
    assert (folder / "glacier_annual.csv").read_bytes() == before
    assert main(["export", config, "wgms-grid", "--folder", str(tmp_path / "grid")]) == 0
    (file,) = (tmp_path / "grid").glob("*.nc")
    with xr.open_dataset(file) as ds:
        assert float(ds["glacier_mass_change_gt"].astype(float).sum()) == pytest.approx(whole, rel=1e-5)
    (folder / "glacier_annual.csv").write_text("mine")
    assert main(["export", config, "csv"]) == 1
    assert "did not write, or that was changed since" in capsys.readouterr().err
    assert main(["export", config, "glambie2"]) == 0
    assert set(pd.read_csv(tmp_path / "out" / "exports" / "glambie2" / "glambie2.csv")["region_id"]) == {13}
    shutil.rmtree(tmp_path / "out" / "regional")
    assert main(["export", config, "glambie2"]) == 1
    assert "regional" in capsys.readouterr().err


def test_the_regional_product_is_exported_where_there_is_one(world, toys, tmp_path):
    config = load_config(world.run(tmp_path, link=True))
    store = RunStore(config.root, quiet)
    with store.locked(), store.writing(REGIONAL.stage, {"settings": {}, "key": "k"}) as folder:
        write_zarr(toys.regional(), folder / REGIONAL.file)
    (written,) = export(config, "glambie2", say=quiet)
    table = pd.read_csv(written)
    sums = yearly(table, None)["glacier_change_observed"].sum().to_numpy().reshape(2, 6)
    np.testing.assert_allclose(sums, toys.regional()["mass_balance"].values, rtol=0, atol=1e-9)
    assert [p.name for p in export(config, "csv", say=quiet)] == ["glacier_annual.csv", "region_annual.csv"]


def test_a_run_that_made_nothing_is_not_exported(world, tmp_path):
    config = load_config(world.at(tmp_path))
    for layout in LAYOUTS:
        with pytest.raises(InputError, match="a product that a run has made"):
            export(config, layout, say=quiet)
    assert not config.root.exists()
    with pytest.raises(InputError, match="glambie2 or wgms-grid or csv"):
        export(config, "shapefile", say=quiet)


def test_a_stale_product_is_exported_and_told(world, tmp_path):
    config = load_config(world.run(tmp_path, link=True), ["product.institution=elsewhere"])
    told = []
    export(config, "csv", say=told.append)
    assert told[0].startswith("note: products is stale")
