"""The page for those who were given a product: its code runs on files alone, and gives what is known by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from glacmb_grid.products.metadata import describe, with_mass_units
from glacmb_grid.stores.formats import write_netcdf

PAGE = Path(__file__).parents[1] / "docs" / "reading.md"
SECONDS = (365 * 3 + 1) * 86400  # of the hydrological years 2002 to 2004, with 29 February 2004


@pytest.fixture
def read(toys, tmp_path, monkeypatch):
    """The names that the code of the page leaves behind, run in a folder with nothing but products."""
    product = toys.product(draws=50)
    product["mass_balance"] = product["mass_balance"] * 0 - 1.0
    product["mass_balance"][{"glacier": 4}] = -2.0
    product["area_of_year"] = xr.full_like(product["mass_balance"], 2.0, dtype=np.float64)
    product["measured"][:] = [1, 0, 0, 0, 1]
    write_netcdf(describe(with_mass_units(product), kind="glacier"), tmp_path / "glacier_annual.nc")
    regional = toys.regional()
    lower = np.tril(np.full((6, 6), 0.5) + np.eye(6)) + np.triu(np.full((6, 6), np.nan), 1)
    regional["mass_change_gt_covariance"] = (("region", "year", "other_year"), np.stack([lower, lower]))
    write_netcdf(
        describe(regional.assign_coords(other_year=regional["year"].values), kind="region"),
        tmp_path / "regional_annual.nc",
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_the_page_gives_what_is_known_by_hand(read, tmp_path):
    ds = read["ds"]
    assert read["worst"].item() == ds["glacier_id"].values[4]
    assert read["best"] == pytest.approx(-3 * 3 * 2e6)  # glaciers x years x m2 x 1 m
    assert read["seconds"] == SECONDS
    assert (read["decades"]["year"].values == [2000]).all()
    np.testing.assert_allclose(read["regional"].values, -1.2)
    assert read["sigma_gt"] == pytest.approx((3 * 1.5 + 6 * 0.5) ** 0.5)
    assert read["out_of_fold"].sizes["glacier_id"] == 2
    assert read["both"]["area"].dims == ("glacier_id",)
    assert read["both"].sizes["year"] == 2
    csv = pd.read_csv(tmp_path / "balances.csv")
    assert len(csv) == 5 * 6
    assert not csv.duplicated(["glacier_id", "year"]).any()


def test_the_independent_claim_holds_the_same_error_as_the_draws(read):
    basin = read["basin"]
    parts = basin["mass_balance_uncertainty_model"] ** 2 + basin["mass_balance_uncertainty_member"] ** 2
    assert read["independent"] == pytest.approx(2e6 * float(parts.sum()) ** 0.5, rel=1e-6)
    assert read["independent"] < 2e6 * float((basin["mass_balance_uncertainty"] ** 2).sum()) ** 0.5


def test_a_whole_dataset_can_be_averaged(read):
    ds = read["ds"]
    mean = ds.weighted(ds["area_of_year"]).mean("glacier_id")
    np.testing.assert_allclose(mean["mass_balance"].values, -1.2)
