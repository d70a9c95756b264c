"""What differs between a product and an earlier one: nothing, or each value by its name, place and year."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.products import changes
from glacmb_grid.products.changes import COLUMNS, difference
from glacmb_grid.products.gridded import gridded_product
from glacmb_grid.stores.formats import read_zarr, write_zarr


@pytest.fixture
def new(toys):
    return toys.product(draws=2)


@pytest.fixture
def old(new):
    return new.isel(year=slice(0, 4)).copy(deep=True)


def test_further_years_variables_and_another_order_are_no_difference(old, new):
    new["mass_balance"].values[2, 1] = old["mass_balance"].values[2, 1] = np.nan
    found = difference(old, new.isel(glacier=[4, 2, 0, 1, 3]).assign(more=("glacier", np.zeros(5))))
    assert list(found.columns) == list(COLUMNS)
    assert found.empty


@pytest.mark.parametrize("block", [1, 7, 1 << 24])
def test_a_changed_value_is_named(old, new, block, monkeypatch):
    monkeypatch.setattr(changes, "_BLOCK", block)
    old["mass_balance"].values[1, 2] = 0.25
    new["mass_balance"].values[1, 2] = np.nan
    new["measured"].values[3] += 1
    new["mass_balance_realizations"].values[1, 0, 3] = 9.5
    found = difference(old, new).set_index("variable")
    assert found.loc["mass_balance"].tolist() == ["RGI60-13.00001", 2003, "0.25", "nan"]
    assert found.loc["measured", ["glacier", "old", "new"]].tolist() == ["RGI60-13.00003", "1", "2"]
    assert found["year"].isna().tolist() == [n == "measured" for n in found.index]
    drawn = found.loc["mass_balance_realizations"]
    assert (drawn["glacier"], drawn["year"], drawn["new"]) == ("RGI60-13.00000 realization 1", 2004, "9.5")
    assert len(found) == 3


def test_the_last_bit_counts(old, new):
    value = new["mass_balance"].values
    value[0, 0] = np.nextafter(value[0, 0], np.float32(9))
    assert difference(old, new)["variable"].tolist() == ["mass_balance"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda ds: ds.isel(year=slice(1, None)), ("year", "", 2001, "there", "missing")),
        (lambda ds: ds.isel(glacier=[0, 1, 2, 4]), ("glacier", "RGI60-13.00003", None, "there", "missing")),
        (lambda ds: ds.drop_vars("dissimilarity"), ("dissimilarity", "", None, "there", "missing")),
        (lambda ds: ds.isel(realization=[0]), ("realization", "1", None, "there", "missing")),
    ],
)
def test_what_is_gone_is_named(old, new, change, expected):
    found = difference(old, change(new))
    assert len(found) == 1
    row = found.iloc[0].astype(object).where(found.iloc[0].notna(), None)
    assert tuple(row) == expected


def test_another_shape_is_named(old, new):
    found = difference(old, new.assign(area=("year", np.zeros(6))))
    assert found["variable"].tolist() == ["area"]


def test_the_limit_is_kept(old, new):
    new["mass_balance"].values[:] += 1
    assert len(difference(old, new)) == 20
    assert len(difference(old, new, limit=3)) == 3


def test_dates_and_texts_are_compared(old, new):
    new = new.assign_coords(time=new["time"] + np.timedelta64(1, "D"))
    found = difference(old, new)
    assert set(found["variable"]) == {"time"}
    assert found["old"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()


def test_stores_are_compared_lazily(old, new, tmp_path):
    write_zarr(old, tmp_path / "old.zarr")
    new["mass_balance"].values[1, 2] = 0.5
    write_zarr(new, tmp_path / "new.zarr")
    found = difference(read_zarr(tmp_path / "old.zarr", {}), read_zarr(tmp_path / "new.zarr", {}))
    assert found["variable"].tolist() == ["mass_balance"]


def test_grids_are_compared_by_cell_and_year(toys):
    product = toys.product(glaciers=3)
    made = gridded_product(product, split="centroid", resolution=5.0)
    past = made.isel(time=slice(0, 3)).copy(deep=True)
    assert difference(past, made).empty
    cell = past["mass_change"].notnull().values[1].argmax()
    y, x = divmod(int(cell), past.sizes["longitude"])
    past["mass_change"].values[1, y, x] = 1.0
    row = difference(past, made).iloc[0]
    assert (row["variable"], row["year"], row["old"]) == ("mass_change", 2002, "1.0")
    assert f"latitude {past['latitude'].values[y]}" in row["glacier"]


def test_a_dataset_does_not_differ_from_itself(new):
    assert difference(new, new).empty
    assert difference(xr.Dataset(), new).empty
