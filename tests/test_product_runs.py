"""Products of a run: conventions, sums; years appended without a change to older bytes, a changed past refused."""

from __future__ import annotations

import shutil

import cf_xarray  # noqa: F401 - the accessor
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError
from glacmb_grid.products.glacier import with_realizations
from glacmb_grid.stores import formats
from glacmb_grid.stores.formats import read_zarr
from glacmb_grid.uncertainty.correlation import ErrorCorrelation
from glacmb_grid.workflow.appending import MAY_GROW
from glacmb_grid.workflow.runner import run

BEFORE = ["climate.years=[2000, 2003]"]
STORES = ("products/glacier_annual.zarr", "regional/regional_annual.zarr", "gridded/gridded_annual_0.1.zarr")


def quiet(_):
    """Say nothing."""


def without_last_year(folder):
    path = folder / "raw" / "fog" / "FOG_EE_MASS_BALANCE.csv"
    table = pd.read_csv(path)
    table[table["YEAR"] < 2004].to_csv(path, index=False)


@pytest.fixture(scope="module")
def product(world, shared):
    """A finished run of the years to 2003, over files that reach to 2004 and observations to 2003; to be copied."""

    def make(folder):
        path = world.at(
            folder, product={"model": "ridge", "grids": {"resolutions": [0.1], "by_year": True}, "draws": 5}
        )
        without_last_year(folder)
        run(load_config(path, BEFORE), say=quiet)

    return shared("to-append-to", make)


@pytest.fixture
def own(product, tmp_path):
    shutil.copytree(product, tmp_path, dirs_exist_ok=True)
    return tmp_path / "own.yaml"


def chunks_of(root):
    return {
        p.relative_to(root): p.read_bytes() for s in STORES for p in sorted((root / s).rglob("c/**/*")) if p.is_file()
    }


def test_all_products_of_a_run_follow_cf_and_open_everywhere(product, compliance):
    files = [(product / "out" / s).with_suffix(".nc") for s in STORES]
    by_year = sorted((product / "out" / "gridded").glob("*_20??.nc"))
    assert [f.stem[-4:] for f in by_year] == ["2001", "2002", "2003"]
    with xr.open_dataset(by_year[1]) as one, xr.open_dataset(files[2]) as every:
        xr.testing.assert_equal(one.load(), every.isel(time=[1]).load())
    for file in files:
        found = compliance(file)
        assert found["cf:1.11"] == [], file
        text = [m for weight, _, m in found["acdd:1.3"] if weight == 3 and m != "standard_name"]
        assert [m for m in text if "MaskedArray" not in m] == [], file
        with xr.open_dataset(file) as ds, xr.open_zarr(file.with_suffix(".zarr")) as zarr:
            assert ds.attrs["Conventions"] == "CF-1.11, ACDD-1.3"
            np.testing.assert_array_equal(ds["mass_balance"].values, zarr["mass_balance"].values)
            assert ds.cf[["change_in_land_ice_mass"]]["mass_change"].attrs["units"] == "kg"
    with rasterio.open(f"netcdf:{files[2]}:mass_change") as grid:
        assert grid.crs is not None
        assert grid.count == 3


def test_grid_cells_and_regions_sum_to_the_glaciers_and_draws_spread_as_the_region_says(product):
    glaciers, regional, gridded = (read_zarr(product / "out" / s) for s in STORES)
    total = glaciers["mass_change"].sum("glacier").values
    np.testing.assert_allclose(regional["mass_change"].sum("region").values, total, rtol=1e-12)
    np.testing.assert_allclose(gridded["mass_change"].sum(("latitude", "longitude")).values, total, rtol=1e-12)
    assert (regional["mass_change_uncertainty"] >= regional["mass_change_uncertainty_independent"] * (1 - 1e-9)).all()
    correlation = ErrorCorrelation.from_attrs(glaciers.attrs)
    drawn = with_realizations(glaciers, correlation, 3000, 7)["mass_balance_realizations"]
    sums = (drawn * glaciers["area_of_year"]).sum("glacier") * 1e9
    spread = sums.std("realization", ddof=1).values
    np.testing.assert_allclose(spread, regional["mass_change_uncertainty"].values[0], rtol=0.08)
    over = sums.sum("year").std("realization", ddof=1).item()
    cumulative = regional["cumulative_mass_change_gt_uncertainty"].values[0, -1] * 1e12
    assert over == pytest.approx(cumulative, rel=0.08)


def test_the_product_of_a_run_has_its_parts(product):
    ds = read_zarr(product / "out" / STORES[0])
    parts = [ds[f"mass_balance_uncertainty_{n}"] ** 2 for n in ("observation", "model", "member")]
    np.testing.assert_allclose(ds["mass_balance_uncertainty"] ** 2, sum(parts), rtol=1e-5)
    assert (ds["mass_balance_uncertainty"] >= ds["expected_error"] * (1 - 1e-6)).all()
    assert ds.sizes["realization"] == 5
    assert np.isnan(ds["mass_balance_lower_90"]).all()  # four glaciers do not make an interval of 90 %
    assert np.isfinite(ds["mass_balance_lower_50"]).all()


def test_a_year_is_added_and_no_older_byte_changes(own):
    config = load_config(own)
    before, old = chunks_of(config.root), {s: read_zarr(config.root / s) for s in STORES}
    assert before
    assert {"products", "regional", "gridded"} <= set(run(config, append=True, say=quiet))
    after = chunks_of(config.root)
    assert {n: after[n] for n in before} == before
    for store in STORES:
        new = read_zarr(config.root / store)
        assert new["year"].values.tolist() == [2001, 2002, 2003, 2004]
        past = new.isel({d: slice(3) for d in ("year", "time", "other_year") if d in new.dims})
        xr.testing.assert_equal(past, old[store])
        with xr.open_dataset((config.root / store).with_suffix(".nc")) as file:
            assert file["year"].values.tolist() == [2001, 2002, 2003, 2004]
    assert run(config, append=True, say=quiet) == []
    assert chunks_of(config.root) == after


@pytest.mark.parametrize("model", ["ridge", "gaussian_process", "temperature_index"])
def test_a_year_that_is_added_is_as_if_all_were_made_at_once(own, model, tmp_path):
    """Means over the years of a glacier are up to the last fitted year; what lies at a threshold lies within it."""
    chosen = [f"product.model={model}", f"validation.models=[{model}]", "validation.schemes=[logo]", "report=false"]
    run(load_config(own, [*BEFORE, *chosen]), say=quiet)
    config, whole = load_config(own, chosen), load_config(own, [*chosen, f"store.root={tmp_path / 'whole'}"])
    before = chunks_of(config.root)
    assert "products" in run(config, append=True, say=quiet)
    after = chunks_of(config.root)
    assert len(after) > len(before)
    assert {n: after[n] for n in before} == before
    run(whole, say=quiet)
    for store in STORES:
        xr.testing.assert_equal(read_zarr(config.root / store), read_zarr(whole.root / store))


def test_a_changed_past_is_refused_with_the_difference_and_nothing_is_replaced(own):
    path = next(own.parent.glob("raw/era5_land/era5_land_monthly_*t2m*.nc"))
    with xr.open_dataset(path) as file:
        ds = file.load()
    time = "valid_time" if "valid_time" in ds.coords else "time"
    summer = ds[time].dt.strftime("%Y-%m") == "2002-07"
    ds["t2m"] = ds["t2m"].where(~summer, ds["t2m"] + 1.0).assign_attrs(ds["t2m"].attrs)
    ds.to_netcdf(path)
    config = load_config(own)
    before = chunks_of(config.root)
    with pytest.raises(InputError, match=r"unchanged older ones[\s\S]*mass_balance RGI\S+ in 2001: \S+ -> \S+;"):
        run(config, append=True, say=quiet)
    assert chunks_of(config.root) == before


def test_an_observation_that_changes_the_fits_is_a_changed_past(own, world):
    table = world.raw() / "raw" / "fog" / "FOG_EE_MASS_BALANCE.csv"
    (own.parent / "raw" / "fog" / "FOG_EE_MASS_BALANCE.csv").write_bytes(table.read_bytes())
    config = load_config(own)
    before = chunks_of(config.root)
    with pytest.raises(InputError, match="unchanged older ones"):
        run(config, append=True, say=quiet)
    assert chunks_of(config.root) == before


def test_older_years_that_differ_by_rounding_only_are_kept_to_the_byte(own, monkeypatch):
    """As where a library sums other numbers of years in another order; a difference beyond that is a changed past."""
    from glacmb_grid.judging import sums

    config, right = load_config(own), sums.regional_product
    before = chunks_of(config.root)

    def off_by(share):
        def made(*arguments, **keywords):
            ds = right(*arguments, **keywords)
            return ds.assign(mass_change_uncertainty=ds["mass_change_uncertainty"] * (1 + share))

        return made

    with monkeypatch.context() as patch:
        patch.setattr(sums, "regional_product", off_by(1e-3))
        with pytest.raises(InputError, match=r"unchanged older ones[\s\S]*mass_change_uncertainty 13 in 2001"):
            run(config, append=True, say=quiet)
    said = []
    with monkeypatch.context() as patch:
        patch.setattr(sums, "regional_product", off_by(1e-7))
        run(config, append=True, say=said.append)
    assert any("agree but for rounding" in line for line in said)
    after = chunks_of(config.root)
    assert {n: after[n] for n in before} == before
    store = config.root / STORES[1]
    with xr.open_dataset(store.with_suffix(".nc")) as file:
        for name in ("mass_change_uncertainty", "mass_balance"):
            np.testing.assert_array_equal(file[name].values, read_zarr(store)[name].values)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("sampling.lapse_rate=-0.005", r"sampling.lapse_rate: -0.0065 -> -0.005"),
        ("models.ridge.penalties=[2.0]", r"models.ridge.penalties"),
        ("product.title=another", r"product.title: .* -> 'another'"),
        ("product.draws=6", r"product.draws: 5 -> 6"),
        ("product.grids=false", r"the product gridded: made -> switched off"),
        ("product.regions=false", r"the product regional: made -> switched off"),
    ],
)
def test_other_settings_are_refused_before_anything_runs(own, setting, told):
    config = load_config(own, [setting])
    before = chunks_of(config.root)
    with pytest.raises(InputError, match=rf"the settings that the product was made with[\s\S]*{told}"):
        run(config, append=True, say=quiet)
    assert chunks_of(config.root) == before
    assert {"climate.years", "product.years"} <= set(MAY_GROW)


def test_nothing_to_append_to_is_said(world, tmp_path, capsys):
    path = world.at(tmp_path)
    assert main(["append", str(path)]) == 1
    assert "a product to append to" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_append_leaves_the_old_product_whole_and_goes_on_later(own, monkeypatch):
    config = load_config(own)
    before = chunks_of(config.root)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(formats, "write_netcdf", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(config, append=True, say=quiet)
    assert chunks_of(config.root) == before
    assert main(["append", str(own)]) == 0
    after = chunks_of(config.root)
    assert {n: after[n] for n in before} == before
    assert len(after) > len(before)
