"""What a caller in Python is told: the argument's name, whatever the key of the configuration is called."""

from __future__ import annotations

import inspect
import pickle

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
from rasterio.transform import Affine

import glacmb_grid as gg
from glacmb_grid.arguments import FUNCTIONS, calls
from glacmb_grid.cli import main
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.settings import RunConfig, TableConfig

WITHOUT = {  # keys that no public function takes: they are of a whole run
    "climate.annual_precipitation",
    "elevation.min_coverage",
    "elevation.compare",
    "observations.links",
    "observations.geodetic",
    "observations.geodetic.mapping",
    "observations.geodetic.learn",
    "sampling.max_land_distance_km",
    "sampling.min_coverage",
    "validation.models",
    "validation.target_weights",
}


def section_of(keys):
    """The settings behind `climate` or `observations.links`."""
    kind = TableConfig if keys == "samples" else RunConfig
    for key in keys.split("."):
        found = kind.model_fields[key].annotation
        kind = next(k for k in (found, *getattr(found, "__args__", ())) if hasattr(k, "model_fields"))
    return kind


def test_every_key_of_the_inputs_leads_to_an_argument_that_exists():
    named = set()
    for section, function, keys in FUNCTIONS:
        for one in keys.split():
            key, _, argument = one.partition("=")
            assert key in section_of(section).model_fields, f"{section}.{key}"
            assert (argument or key) in inspect.signature(getattr(gg, function)).parameters, f"{function}({argument})"
            named.add(f"{section}.{key}")
    for section in dict.fromkeys(s for s, _, _ in FUNCTIONS):
        for key in section_of(section).model_fields:
            assert (f"{section}.{key}" in named) != (f"{section}.{key}" in WITHOUT), f"{section}.{key}"


@pytest.mark.parametrize(
    ("where", "text", "expected"),
    [
        ("a.csv", "declare `observations: {units: mm w.e.}`", ["read_observations(units='mm w.e.')"]),
        ("a.nc", "check `climate.accumulated` and `climate: {units: {tp: mm}}`",
         ["open_climate(units={'tp': 'mm'}, accumulated=...)"]),
        ("a.shp", "name it: `glaciers: {id: COLUMN}`", ["read_outlines(id_column='COLUMN')"]),
        ("x", "`observations: {links: {mapping: {'9': G1}}}`", ["link(mapping={'9': 'G1'})"]),
        ("x", "`observations: {links: {table: FILE}}`", ["link(table=read_link_table('FILE'))"]),
        ("observations.links.mapping: outline", "correct it", ["link(mapping=...)"]),
        ("climate: names: foo", "correct it", ["open_climate(names=...)"]),
        ("x", "`climate: {invariant: FILE}`, or `sampling: {lapse_rate: 0}`",
         ["open_climate(invariant='FILE')", "correct_temperature(lapse_rate=0)"]),
        ("x", "`samples: {monthly: {t2m: {units: ...}}}`", ["read_samples_table(monthly={'t2m': {'units': ...}})"]),
        ("x", "set `samples: {exclude: [...]}`", ["read_samples_table(exclude=[...])"]),
        ("x", "lower `elevation.min_coverage`", []),
        ("climate.nc", "`store.root`, `odd: {`, `climate: {a: [}`", []),
    ],
)  # fmt: skip
def test_keys_in_a_message_are_said_in_python_too(where, text, expected):
    assert calls(where, text) == expected


def test_the_command_line_keeps_to_the_configuration_and_python_shows_both(tmp_path, capsys):
    one = InputError("a.csv", expected="e", found="f", remedy="declare `observations: {units: mm w.e.}`")
    line = "Python:   read_observations(units='mm w.e.')"
    for error in (one, InputErrors([one, InputError("b", expected="e", found="f", remedy="r")])):
        assert str(error).count(line) == 1
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert "Python" not in error.in_words(python=False)
    (tmp_path / "x.yaml").write_text("glaciers: {path: x}\n")
    assert main(["check", str(tmp_path / "x.yaml")]) == 1
    assert "Python:" not in capsys.readouterr().err


# ---- every public function ----


@pytest.fixture(scope="module")
def given(toys, tmp_path_factory):
    """Small inputs of every kind."""
    folder = tmp_path_factory.mktemp("given")
    time = np.arange("2018-10", "2020-10", dtype="datetime64[M]").astype("datetime64[ns]")
    places = {"latitude": [46.8, 46.7, 46.6], "longitude": [10.6, 10.7, 10.8, 10.9]}
    dims = ("time", "latitude", "longitude")
    t2m = (dims, np.full((24, 3, 4), 270.0), {"units": "K"})
    xr.Dataset({"t2m": t2m}, {"time": time, **places}).to_netcdf(folder / "t2m.nc")
    heights = xr.Dataset({"foo": (dims[1:], np.full((3, 4), 2500.0), {"units": "m"})}, places)
    heights.to_netcdf(folder / "heights.nc")
    gpd.GeoDataFrame({"RGIId": ["G1"]}, geometry=[shapely.box(10.62, 46.68, 10.66, 46.72)], crs=4326).to_file(
        folder / "o.gpkg"
    )
    shape = {
        "height": 30,
        "width": 40,
        "count": 1,
        "crs": "EPSG:4326",
        "transform": Affine(0.01, 0, 10.55, 0, -0.01, 46.85),
    }
    for name, dtype in (("dem.tif", "int16"), ("MOD10A1_doy2019182.tif", "uint8")):
        with rasterio.open(folder / name, "w", driver="GTiff", dtype=dtype, **shape) as file:
            file.write(np.full((30, 40), 60, dtype), 1)
    rows = [f"{g},{y},{((g * y) % 7 + 1) / 10},{g + y % 5}" for g in range(5) for y in range(2000, 2008)]
    (folder / "own.csv").write_text("\n".join(["id,year,b,x", *rows]) + "\n")
    (folder / "fog.csv").write_text("WGMS_ID,YEAR,ANNUAL_BALANCE\n1,2019,-500\n1,2020,-400\n")
    predictors = toys.predictors()
    samples = toys.samples(predictors)

    class Given:
        pass

    out = Given()
    out.folder, out.predictors, out.samples = folder, predictors, samples
    out.folds = gg.make_folds(samples, "logo")
    out.glaciers = gg.read_outlines(folder / "o.gpkg")
    out.cube = gg.open_climate(folder / "t2m.nc", accumulated="daily_mean")
    out.table, out.nothing = pd.DataFrame({"a": [1]}), xr.Dataset()
    out.own = {"glacier": "id", "year": "year", "target": "b", "target_units": "m w.e."}
    return out


def climate(**wrong):
    def call(g):
        beside = {"invariant": g.folder / wrong["invariant"]} if "invariant" in wrong else {}
        return gg.open_climate(g.folder / "t2m.nc", **{"accumulated": "daily_mean", **wrong, **beside})

    return call


def samples(**wrong):
    return lambda g: gg.read_samples_table(g.folder / "own.csv", **{**g.own, **wrong})


def observed(**wrong):
    return lambda g: gg.read_observations(g.folder / "fog.csv", **{"units": "mm w.e.", **wrong})


WRONG = [
    ("open_climate", climate(accumulated="daily"), ["open_climate: accumulated", "'daily_mean'", "'monthly_total'"]),
    ("open_climate", climate(variables=["ssrd"]), ["open_climate(variables="]),
    ("open_climate", climate(variables=["foo"]), ["open_climate(variables="]),
    ("open_climate", climate(units={"t2m": "furlong"}), ["open_climate(units={'t2m': 'K'})"]),
    ("open_climate", climate(names={"foo": "t2m"}), ["open_climate(names="]),
    ("open_climate", climate(stamp="middle"), ["open_climate: stamp", "'within'"]),
    ("open_climate", climate(expver="first"), ["open_climate: expver", "'final'"]),
    ("open_climate", climate(negative_precipitation="drop"), ["open_climate: negative_precipitation", "'zero'"]),
    (
        "open_elevation",
        lambda g: gg.open_elevation(g.folder / "dem.tif", units="mm"),
        ["open_elevation: units", "'us-ft'"],
    ),
    (
        "open_albedo",
        lambda g: gg.open_albedo(g.folder / "MOD10A1_doy2019182.tif", quality="good"),
        ["open_albedo: quality"],
    ),
    ("open_albedo", lambda g: gg.open_albedo(g.folder / "MOD10A1_doy2019182.tif", layer="foo"), ["open_albedo(layer="]),
    ("read_outlines", lambda g: gg.read_outlines(g.folder / "o.gpkg", id_column="x"), ["read_outlines(id_column="]),
    ("read_outlines", lambda g: gg.read_outlines(g.folder / "o.gpkg", layer="x"), ["read_outlines(layer="]),
    ("read_outlines", lambda g: gg.read_outlines(g.folder / "o.gpkg", crs="x"), ["read_outlines(crs="]),
    ("read_observations", observed(units="feet"), ["read_observations: units", "'mm w.e.'"]),
    ("read_observations", observed(units=None), ["read_observations(units='mm w.e.')"]),
    ("read_observations", observed(periods="all"), ["read_observations: periods", "'leave_out'"]),
    ("read_observations", observed(columns={"year": "x"}), ["read_observations(columns={'year': 'x'})"]),
    ("link", lambda g: gg.link(observed()(g), g.glaciers, mapping={"1": "x"}), ["link(mapping="]),
    ("link", lambda g: gg.link(g.table, g.glaciers), ["observations", "no site", "`read_observations`"]),
    ("link", lambda g: gg.link(observed()(g), g.table), ["glaciers", "no geometry", "`read_outlines`"]),
    ("link", lambda g: gg.link(observed()(g), g.glaciers, table=g.table), ["table", "no site", "`read_link_table`"]),
    (
        "link",
        lambda g: gg.link(observed()(g), g.glaciers, max_distance_km=-1),
        ["link: max_distance_km", "at least 0", "-1"],
    ),
    ("read_observations", observed(default_uncertainty=-1), ["read_observations: default_uncertainty", "above 0"]),
    ("read_samples_table", samples(default_uncertainty=0), ["read_samples_table: default_uncertainty", "above 0"]),
    (
        "read_geodetic",
        lambda g: gg.read_geodetic(g.folder / "own.csv", shortest=float("nan")),
        ["read_geodetic: shortest", "above 0", "nan"],
    ),
    ("score", lambda g: gg.score(g.table, level=2), ["score: level", "above 0 and below 1", "2"]),
    ("compare", lambda g: gg.compare(g.table, draws=0), ["compare: draws", "at least 1"]),
    ("open_climate", climate(names={"t2m": "not_there"}), ["open_climate(names=", "no not_there", "t2m"]),
    (
        "open_climate",
        climate(invariant="heights.nc"),
        ["heights.nc: z", "variables foo", "open_climate(names={'orography': 'NAME'}"],
    ),
    ("read_link_table", lambda g: gg.read_link_table(g.folder / "own.csv"), ["own.csv", "a header with one of"]),
    ("read_versions", lambda g: gg.read_versions(g.folder / "own.csv"), ["own.csv", "a header with one of"]),
    ("read_samples_table", samples(target_units="feet"), ["read_samples_table: target_units"]),
    ("read_samples_table", samples(target="y"), ["read_samples_table(target='y')"]),
    ("read_samples_table", samples(predictors=["y"]), ["read_samples_table(predictors="]),
    ("read_samples_table", samples(predictors="x"), ["read_samples_table: predictors", "'all'"]),
    ("read_samples_table", samples(where={"x": 99}), ["read_samples_table(where="]),
    ("read_samples_table", samples(folds={"logo": "y"}), ["read_samples_table(folds={'logo': 'y'})"]),
    ("read_samples_table", samples(group="x"), ["read_samples_table(group="]),
    ("terrain", lambda g: gg.terrain(xr.DataArray([[1.0]]), g.glaciers), ["elevation model"]),
    ("terrain", lambda g: gg.terrain(g.cube["t2m"][0], g.table), ["glaciers", "`read_outlines`"]),
    ("overlap_weights", lambda g: gg.overlap_weights(g.table, g.cube), ["glaciers", "`read_outlines`"]),
    ("overlap_weights", lambda g: gg.overlap_weights(g.glaciers, g.nothing), ["grid", "latitude and longitude"]),
    (
        "sample",
        lambda g: gg.sample(g.cube.isel(latitude=slice(2)), gg.overlap_weights(g.glaciers, g.cube)),
        ["weights", "cube"],
    ),
    ("glaciers_dataset", lambda g: gg.glaciers_dataset(g.table), ["glaciers", "area, name, longitude, latitude"]),
    ("correct_temperature", lambda g: gg.correct_temperature(g.nothing, xr.DataArray(0.0)), ["sampled", "'glacier'"]),
    (
        "fitted_lapse_rate",
        lambda g: gg.fitted_lapse_rate(g.cube, gg.overlap_weights(g.glaciers, g.cube)),
        ["open_climate(invariant='FILE')", "correct_temperature(lapse_rate=0)"],
    ),
    ("summer_albedo", lambda g: gg.summer_albedo(g.nothing), ["daily albedo", "`open_albedo`"]),
    ("build_predictors", lambda g: gg.build_predictors(g.nothing, g.nothing, g.nothing), ["sampled", "`sample`"]),
    ("build_constraints", lambda g: gg.build_constraints(g.predictors, g.table), ["linked", "rate"]),
    ("build_constraints", lambda g: gg.build_constraints(g.nothing, g.table), ["predictors", "`build_predictors`"]),
    ("build_samples", lambda g: gg.build_samples(g.predictors, g.table), ["linked", "mass_balance"]),
    ("build_samples", lambda g: gg.build_samples(g.nothing, g.table), ["predictors", "`build_predictors`"]),
    ("make_folds", lambda g: gg.make_folds(g.samples, "logos"), ["scheme", "logo, loyo"]),
    ("make_folds", lambda g: gg.make_folds(g.samples, "logo", inner=0), ["make_folds: inner"]),
    ("make_folds", lambda g: gg.make_folds(g.samples, "logo", parts=-1), ["make_folds: parts"]),
    ("make_folds", lambda g: gg.make_folds(g.nothing, "logo"), ["samples", "glacier"]),
    ("fit", lambda g: gg.fit("ridges", g.samples, g.folds), ["model", "ridge"]),
    ("fit", lambda g: gg.fit("ridge", g.samples, g.folds, {"penalty": 1}), ["settings of ridge", "penalties"]),
    ("fit", lambda g: gg.fit("ridge", g.samples.isel(sample=slice(9)), g.folds), ["samples", "make folds"]),
    ("fit", lambda g: gg.fit("ff_fcnn_neighbours", g.samples, g.folds), ["`built_on`"]),
    ("choices", lambda g: gg.choices(g.nothing), ["parameters", "`fit`"]),
    ("predict", lambda g: gg.predict(g.nothing, g.samples), ["parameters", "`fit`"]),
    ("network", lambda g: gg.network(g.nothing, fold="G1", member=0), ["parameters", "`fit`"]),
    ("out_of_fold", lambda g: gg.out_of_fold(g.samples, g.folds, xr.DataArray([1.0]), model="x"), ["predict"]),
    ("score", lambda g: gg.score(g.table), ["predictions", "`out_of_fold`"]),
    ("compare", lambda g: gg.compare(g.table), ["predictions", "`out_of_fold`"]),
    (
        "upscale",
        lambda g: gg.upscale(lambda rows: rows, g.nothing, g.samples, g.folds),
        ["predictors", "`build_predictors`"],
    ),
    (
        "read_geodetic",
        lambda g: gg.read_geodetic(g.folder / "own.csv", units="feet"),
        ["read_geodetic: units", "'m w.e.'"],
    ),
    ("coverage", lambda g: gg.coverage(g.table), ["predictions", "`out_of_fold`"]),
    ("conformal_half_widths", lambda g: gg.conformal_half_widths(g.table, ["a"], [2001]), ["predictions"]),
    ("predictor_space", lambda g: gg.predictor_space(g.nothing, g.folds), ["samples", "`build_samples`"]),
    (
        "predictor_weights",
        lambda g: gg.predictor_weights(g.nothing, g.samples, g.folds, rows=0),
        ["predictor_weights: rows"],
    ),
    (
        "dissimilarity",
        lambda g: gg.dissimilarity(gg.predictor_space(g.samples, g.folds), np.zeros((1, 2))),
        ["dissimilarity", "2"],
    ),
    ("fit_error_curve", lambda g: gg.fit_error_curve([1.0, 2.0], [0.1], ["a", "b"]), ["dissimilarity"]),
    (
        "glacier_year_uncertainty",
        lambda g: gg.glacier_year_uncertainty(g.samples, g.folds, g.table, g.nothing),
        ["predictors", "`build_predictors`"],
    ),
    (
        "glacier_product",
        lambda g: gg.glacier_product(g.nothing, g.nothing, g.predictors, g.nothing, g.nothing),
        ["samples", "`build_samples`"],
    ),
    ("with_realizations", lambda g: gg.with_realizations(g.nothing, None, 2, 1), ["product", "'mass_balance'"]),
    ("describe", lambda g: gg.describe(g.nothing, kind="glaciers"), ["describe: kind", "region"]),
    ("with_mass_units", lambda g: gg.with_mass_units(g.nothing), ["product", "'mass_balance'"]),
    ("gridded_product", lambda g: gg.gridded_product(g.nothing), ["product", "'mass_balance'"]),
    ("rgi_regions", lambda g: gg.rgi_regions(["a", "b"]), ["regions: glaciers"]),
    ("one_region", lambda g: gg.one_region(-1, "all"), ["one_region: number", "-1"]),
    (
        "area_of_years",
        lambda g: gg.area_of_years([-1.0], gg.one_region(1, "all"), [2001]),
        ["area", "below 0"],
    ),
    (
        "regions_of_polygons",
        lambda g: gg.regions_of_polygons([10.8], [46.8], g.glaciers, name="nothing"),
        ["regions: polygons", "'nothing'"],
    ),
    ("fit_correlation", lambda g: gg.fit_correlation(g.table, g.table), ["positions", "longitude"]),
    (
        "draw_errors",
        lambda g: gg.draw_errors(gg.ErrorCorrelation((), 1.0), np.ones((2, 2)), np.zeros((2, 2)), [2002, 2001]),
        ["draws: years", "ascending"],
    ),
    (
        "propagate",
        lambda g: gg.propagate(gg.ErrorCorrelation((), 1.0), -np.ones((1, 1)), [[1.0]], [[10.0, 46.0]], [2001]),
        ["propagate", "none below 0"],
    ),
    (
        "regional_product",
        lambda g: gg.regional_product(g.nothing, gg.one_region(1, "all"), correlation=gg.ErrorCorrelation((), 1.0)),
        ["regional_product: product"],
    ),
    ("read_series", lambda g: gg.read_series(g.folder / "none.csv"), ["none.csv", "regional series"]),
    (
        "compare_series",
        lambda g: gg.compare_series(g.nothing, g.table),
        ["regional", "'mass_change_gt'", "`regional_product`"],
    ),
    ("compare_geodetic", lambda g: gg.compare_geodetic(g.nothing, g.table), ["product", "'mass_balance'"]),
    ("score_geodetic", lambda g: gg.score_geodetic(g.nothing), ["compared", "`compare_geodetic`"]),
    ("write_product", lambda g: gg.write_product(g.nothing, g.folder), ["product", "'mass_balance'"]),
    ("write_region", lambda g: gg.write_region(g.folder / "new", glaciers=3, measured=5), ["measured", "glaciers"]),
    ("load_config", lambda g: gg.load_config(g.folder / "no.yaml"), ["no.yaml", "a configuration file"]),
    ("run", lambda g: gg.run("own.yaml"), ["run: config", "`load_config`"]),
]


@pytest.mark.parametrize(("call", "says"), [pytest.param(*row[1:], id=f"{row[0]}-{row[2][0]}") for row in WRONG])
def test_a_wrong_argument_is_named(given, call, says):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - what it says is compared below
        call(given)
    for part in says:
        assert part in str(raised.value)


def test_every_public_function_is_among_them():
    functions = {n for n in gg.__all__ if inspect.isfunction(getattr(gg, n))}
    assert functions == {row[0] for row in WRONG}


def test_a_declared_name_may_be_of_the_invariant_file_alone(given):
    found = climate(invariant="heights.nc", names={"orography": "foo", "t2m": "t2m"})(given)
    assert float(found["orography"].mean()) == 2500


def test_words_are_checked_and_all_else_goes_through(given):
    assert gg.open_climate(given.folder / "t2m.nc", accumulated="hourly_mean", stamp=None)["t2m"].sizes["time"] == 24
    assert gg.read_samples_table(given.folder / "own.csv", **given.own, predictors=["x"]).sizes["predictor"] == 1
    assert list(inspect.signature(gg.open_climate).parameters)[:2] == ["files", "accumulated"]
    assert pickle.loads(pickle.dumps(gg.open_climate)) is gg.open_climate
