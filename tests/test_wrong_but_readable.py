"""Inputs that are readable and yet wrong: said aloud, or refused."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401 - gives arrays their .rio
import shapely
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.links import link
from glacmb_grid.inputs.plausible import check_values
from glacmb_grid.sampling.lapse_rate import tell_far_orography
from glacmb_grid.sampling.terrain import tell_voids, terrain, without_elevation
from glacmb_grid.sampling.zonal import without_valid


def test_a_void_part_of_a_glacier_is_told_by_name():
    whole = xr.Dataset({"elevation_coverage": ("glacier", [1.0, 0.7])}, coords={"glacier": ["a", "b"]})
    with pytest.warns(UserWarning, match=r"1 glacier\(s\).*b \(70%\)"):
        tell_voids(whole)
    tell_voids(whole.isel(glacier=[0]))  # warnings are errors: nothing is said of a whole one


def test_undeclared_zero_voids_high_above_the_sea_are_refused():
    heights = np.full((20, 20), 3000.0)
    heights[5, 5] = 0.0
    dem = xr.DataArray(
        heights, dims=("y", "x"), coords={"y": 46.9 - 0.001 * np.arange(20), "x": 10.8 + 0.001 * np.arange(20)}
    ).rio.write_crs(4326)
    glaciers = gpd.GeoDataFrame(
        geometry=[shapely.box(10.8025, 46.8855, 10.8145, 46.8975)], index=pd.Index(["g"], name="glacier"), crs=4326
    )
    two = pd.concat([glaciers, glaciers.set_axis(["low"]).translate(0.004, 0.0).to_frame("geometry")])
    failures = without_elevation(terrain(dem, two.set_crs(4326)), 0.5)
    assert [f.glacier for f in failures] == ["g"]
    assert "undeclared voids" in failures[0].reason
    with pytest.raises(InputError, match=r"exactly 0 m inside 1 glacier\(s\) that lie far above: g"):
        without_elevation(terrain(dem, glaciers), 0.5)
    assert float(terrain(dem.where(dem != 0), glaciers)["elevation_mean"].item()) == pytest.approx(3000)


def test_an_orography_thousands_of_metres_off_is_told():
    glacier = {"glacier": ["a", "b"]}
    elevation = xr.DataArray([3000.0, 3000.0], dims="glacier", coords=glacier)
    with pytest.warns(UserWarning, match=r"1 glacier\(s\): b \(250 m\)"):
        tell_far_orography(xr.DataArray([2400.0, 250.0], dims="glacier", coords=glacier), elevation)
    tell_far_orography(xr.DataArray([2400.0, 3900.0], dims="glacier", coords=glacier), elevation)


def test_a_balance_of_the_whole_is_not_given_to_a_piece():
    pieces = gpd.GeoDataFrame(
        geometry=[shapely.box(10.80, 46.85, 10.83, 46.88), shapely.box(10.84, 46.85, 10.85, 46.88)],
        index=pd.Index(["RGI50-11.00719_d01", "RGI50-11.00719_d02"], name="glacier"),
        crs=4326,
    )
    observed = pd.DataFrame(
        {
            "site": ["489"], "name": ["VERNAGT"], "year": [2000], "mass_balance": [-0.5], "uncertainty": [0.2],
            "uncertainty_given": [True], "rgi_id": ["RGI60-11.00719"], "longitude": [10.815], "latitude": [46.865],
            "time_system": [""], "line": [2],
        }
    )  # fmt: skip
    with pytest.raises(InputError, match="merge_pieces: true"):
        link(observed, pieces)
    assert list(link(observed, pieces, mapping={"489": "RGI50-11.00719_d01"}).observations["link"]) == ["mapping"]


def test_one_month_far_from_its_like_is_refused():
    time = np.arange("2000-01", "2006-01", dtype="datetime64[M]").astype("datetime64[ns]")
    season = 270 - 12 * np.cos(2 * np.pi * np.arange(72) / 12)
    values = np.broadcast_to(season[:, None, None], (72, 2, 2)).copy()
    dims = ("time", "latitude", "longitude")
    cube = xr.Dataset({"t2m": (dims, values)}, coords={"time": time})
    check_values(cube, source="file.nc")
    values[30] += 40.0
    with pytest.raises(InputError, match=r"file.nc: t2m[\s\S]*2002-07"):
        check_values(cube.assign(t2m=(dims, values)), source="file.nc")


def test_a_glacier_mostly_over_missing_cells_is_refused():
    coverage = np.array([[1.0, 1.0], [1.0, 0.2]], dtype=np.float32)
    sampled = xr.Dataset(
        {
            "t2m": (("glacier", "time"), np.full((2, 2), 270.0)),
            "t2m_coverage": (("glacier", "time"), np.ones((2, 2))),
            "tp": (("glacier", "time"), np.ones((2, 2))),
            "tp_coverage": (("glacier", "time"), coverage),
            "orography_coverage": ("glacier", np.ones(2)),
        },
        coords={"glacier": ["a", "b"], "time": np.array(["1999-12", "2000-01"], "M8[ns]")},
    )
    failures = without_valid(sampled, 0.5, source="climate files")
    assert failures == [("b", "tp", "20% of its area have values in 2000-01, at least 50% are required")]
    assert without_valid(sampled, 0.2, source="climate files") == []
    with pytest.raises(InputError, match=r"climate files: tp\n[\s\S]*1 of 1 glaciers below that: b \(20%\)"):
        without_valid(sampled.isel(glacier=[1]), 0.5, source="climate files")
