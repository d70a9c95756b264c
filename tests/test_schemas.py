"""The schemas of what passes between rooms: what the package makes is what they say, and every difference is told."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.registry import fit, predict
from glacmb_grid.samples import build_samples
from glacmb_grid.schemas import (
    CLIMATE,
    DATE,
    FOLDS,
    NUMBER,
    PARAMETERS,
    PREDICTIONS,
    PREDICTORS,
    ROWS,
    SAMPLES,
    SCHEMAS,
    TERRAIN,
    TEXT,
    UPSCALED,
    Field,
    Schema,
    check,
    empty,
)
from glacmb_grid.upscaling.predict import upscale

MADE = Schema(
    "made up",
    "`make`",
    {"t2m": Field(("glacier", "time"), NUMBER, "K"), "area": Field(("glacier",), NUMBER, "km2", required=False)},
    {"glacier": Field(("glacier",), TEXT), "time": Field(("time",), DATE)},
    attrs=("first_month",),
)
GOOD = xr.Dataset(
    {"t2m": (("glacier", "time"), np.zeros((1, 2)), {"units": "K"})},
    coords={"glacier": ["a"], "time": np.array(["2001-01", "2001-02"], "datetime64[ns]")},
    attrs={"first_month": 10},
)


def refused(ds, schema=MADE, **options):
    with pytest.raises(InputError) as error:
        check(ds, schema, **options)
    return error.value


def test_a_dataset_as_it_should_be_passes_with_more_in_it_and_without_what_it_need_not_have():
    check(GOOD, MADE)
    check(GOOD.assign(area=("glacier", [1.0]), other=("z", [1.0])), MADE)


@pytest.mark.parametrize(
    ("change", "expected", "found"),
    [
        (lambda d: d.drop_vars("t2m"), "'t2m' (glacier, time) number, K", "'t2m' is missing"),
        (lambda d: d.transpose(), "'t2m' (glacier, time) number, K", "'t2m' has dimensions (time, glacier)"),
        (lambda d: d.assign(t2m=d["t2m"].astype(str)), "number, K", "'t2m' has dtype <U"),
        (lambda d: d.assign(t2m=d["t2m"].assign_attrs(units="degC")), "number, K", "'t2m' has units 'degC'"),
        (lambda d: d.assign(area=("time", [1.0, 2.0])), "'area' (glacier) number, km2", "'area' has dimensions (time)"),
        (lambda d: d.assign_coords(time=[1, 2]), "'time' (time) date", "'time' has dtype int64"),
        (lambda d: d.drop_vars("glacier"), "'glacier' (glacier) text", "'glacier' is missing"),
        (lambda d: d.assign_attrs(first_month=1).drop_attrs(), "the attribute 'first_month'", "no attribute"),
    ],
)
def test_what_was_expected_and_found_is_told(change, expected, found):
    error = refused(change(GOOD))
    assert error.where == "made up"
    assert expected in error.expected
    assert found in error.found
    assert error.remedy == "pass what `make` gives"


def test_every_difference_is_told_at_once_under_the_name_that_was_given():
    error = refused(GOOD.drop_vars(["t2m", "glacier"]), name="climate of 2001")
    assert error.where == "climate of 2001"
    assert error.found == "'t2m' is missing; 'glacier' is missing (present: time)"


def test_a_coordinate_that_is_a_variable_is_told():
    label = Schema("labelled", "`make`", {}, {"site": Field(("glacier",), TEXT)})
    labelled = GOOD.assign_coords(site=("glacier", ["s"]))
    check(labelled, label)
    assert "'site' is a variable" in refused(labelled.reset_coords("site"), label).found


def test_a_missing_unit_is_no_other_unit():
    check(GOOD.assign(t2m=GOOD["t2m"].drop_attrs()), MADE)


def test_dimensions_of_a_grid_may_have_any_names():
    cube = GOOD.rename(glacier="y").expand_dims(x=2)
    check(cube, CLIMATE)
    assert (
        "'t2m' has dimensions (x, y)"
        in refused(cube.isel(time=0, drop=True).assign_coords(time=("time", [0])), CLIMATE).found
    )


def test_schemas_are_found_by_their_names():
    assert all(name == schema.name for name, schema in SCHEMAS.items())
    assert len(SCHEMAS) == 16


@pytest.fixture(scope="module")
def chain(toys):
    """What each room of a run gives, by the name of its schema."""
    predictors = toys.predictors(glaciers=5, years=(2001, 2005))
    samples = toys.samples(predictors.isel(glacier=slice(0, 4)))
    folds = make_folds(samples, "logo", inner=2)
    parameters = fit("mean", samples, folds)
    predicted = predict(parameters, samples)
    upscaled = upscale(lambda rows: predict(parameters, rows), predictors, samples, folds)
    return {
        PREDICTORS.name: predictors,
        SAMPLES.name: samples,
        ROWS.name: samples,
        FOLDS.name: folds.to_dataset(),
        PARAMETERS.name: parameters,
        PREDICTIONS.name: predicted.to_dataset(name="predicted"),
        UPSCALED.name: upscaled,
    }


@pytest.mark.parametrize("schema", [PREDICTORS, SAMPLES, ROWS, FOLDS, PARAMETERS, PREDICTIONS, UPSCALED])
def test_what_the_rooms_give_is_what_the_schemas_say_and_each_required_variable_counts(chain, schema):
    ds = chain[schema.name]
    check(ds, schema)
    for name, one in {**schema.variables, **schema.coordinates}.items():
        if one.required:
            assert f"{name!r} is missing" in refused(ds.drop_vars(name), schema).found


def test_the_borders_refuse_what_is_not_theirs(chain):
    predictors, samples, stored = (chain[s.name] for s in (PREDICTORS, SAMPLES, FOLDS))
    folds = Folds.from_dataset(stored)
    parameters = chain[PARAMETERS.name]
    bare = samples.drop_vars("stem")
    for call in (
        lambda: build_samples(predictors.drop_vars("stem"), None),
        lambda: fit("mean", bare, folds),
        lambda: Folds.from_dataset(stored.drop_vars("inner_fit")),
        lambda: predict(parameters, bare),
        lambda: predict(parameters.drop_attrs(), samples),
        lambda: upscale(lambda rows: None, predictors, bare, folds),
    ):
        with pytest.raises(InputError, match="pass what"):
            call()


def test_a_dataset_without_any_glacier_is_what_its_schema_says():
    made = empty(PREDICTORS, year=[2000, 2001], month=12)
    check(made, Schema(PREDICTORS.name, "", PREDICTORS.variables, PREDICTORS.coordinates))
    assert made.sizes == {"glacier": 0, "year": 2, "predictor": 0, "month": 12, "band": 0}
    assert list(empty(TERRAIN, ["slope"]).data_vars) == ["slope"]
