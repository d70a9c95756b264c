"""The registry of variables, and what predictors are."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.stores.formats import read_zarr, write_zarr
from glacmb_grid.vocabulary import EARTH_RADIUS, VARIABLES, Meaning, meaning_coordinates, meanings_of

SURFACE = {"d2m", "fal", "sf", "slhf", "sp", "sshf", "ssr", "ssrd", "str", "strd", "t2m", "tp", "u10", "v10"}
SNOW = {"asn", "es", "rsn", "sd", "sde", "smlt", "snowc", "tsn"}
CANDIDATES = sorted(SURFACE | SNOW)
PER_DAY = {"es", "sf", "slhf", "smlt", "sshf", "ssr", "ssrd", "str", "strd", "tp"}


def test_the_registry_holds_the_22_candidates():
    assert len(CANDIDATES) == 22
    assert sorted(VARIABLES) == sorted([*CANDIDATES, "pdd"])
    assert all(name == v.name for name, v in VARIABLES.items())


def test_accumulated_variables_are_the_fluxes_and_amounts():
    assert {n for n, v in VARIABLES.items() if v.kind == "accumulated"} == PER_DAY | {"pdd"}


def test_snow_variables_are_known_as_model_output():
    assert all(VARIABLES[n].origin == "land surface model" for n in SNOW)
    assert {v.origin for v in VARIABLES.values()} <= {"analysis", "forecast", "land surface model"}


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_entry_is_consistent(name):
    v = VARIABLES[name]
    assert v.low < v.high
    assert v.long_name == v.long_name.strip() != ""
    assert v.units in {"1", "%", "K", "m", "m s-1", "Pa", "kg m-3", "J m-2"}
    if v.units == "J m-2":
        assert (v.kind, v.sign) == ("accumulated", "positive downward")
    if v.units == "K":
        assert v.low < 273.15 < v.high
        assert v.kind == "instantaneous"
    assert v.standard_name is None or re.fullmatch(r"[a-z0-9_]+", v.standard_name)
    assert (name == "es") == ("evaporates" in v.sign)


def test_standard_names_are_given_once():
    named = [v.standard_name for v in VARIABLES.values() if v.standard_name]
    assert len(set(named)) == len(named)


def test_the_sphere_has_the_area_of_the_ellipsoid():
    a, e2 = 6378137.0, 0.0066943799901413165
    e = np.sqrt(e2)
    area = 2 * np.pi * a**2 * (1 + (1 - e2) / e * np.arctanh(e))
    assert pytest.approx(area, rel=1e-9) == 4 * np.pi * EARTH_RADIUS**2


MEANINGS = (
    (Meaning("t2m", "climate", calendar_month=7, part="value"), "t2m_07"),
    (Meaning("t2m", "climate", "summer", part="anomaly"), "t2m_summer_anomaly"),
    (Meaning("degree_days", "series", "annual", part="value"), "degree_days_annual"),
    (Meaning("slope", "terrain", part="value"), "slope"),
    (Meaning("anything"), "anything"),
)


@pytest.mark.parametrize(("meaning", "name"), MEANINGS)
def test_the_name_of_a_predictor_follows_from_what_it_is(meaning, name):
    assert meaning.name == name


def test_what_predictors_are_comes_back_from_the_coordinates(tmp_path):
    meanings = tuple(m for m, _ in MEANINGS)
    ds = xr.Dataset(coords=meaning_coordinates(meanings))
    assert set(ds.coords) == {"stem", "origin", "season", "calendar_month", "part"}
    assert meanings_of(ds) == meanings
    write_zarr(ds, tmp_path / "a.zarr")
    assert meanings_of(read_zarr(tmp_path / "a.zarr")) == meanings
