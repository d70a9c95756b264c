"""Networks that learn the balances of another table first: from which of its rows, and that they are told."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.inputs.own_table import read_samples_table
from glacmb_grid.learning.choices import choices
from glacmb_grid.learning.nets.withheld import Labelled, Withheld
from glacmb_grid.learning.registry import fit, model_of
from glacmb_grid.learning.table import table_of
from glacmb_grid.settings import FeedForward, Recipe, SampleTable
from glacmb_grid.workflow.table import table as table_of_stages

FITTED = ("parameters", "choice", "inner_error", "inner_prediction", "best_epoch", "target_centre", "pretraining_seen")


def differing(a, b, fold):
    """Names of what two fits differ in, in one fold."""
    return [n for n in FITTED if not np.array_equal(a[n].values[fold], b[n].values[fold], equal_nan=a[n].dtype != bool)]


ROLES = {
    "glacier": "gid",
    "year": "year",
    "target": "target",
    "target_units": "m w.e.",
    "region": "land",
    "group": "cell",
}


def tables(folder, shift=0.0, where=None):
    """Samples of the glaciers 0 to 5, and settings that pre-train on a table of the glaciers 0 to 9.

    `shift` is added to the balances of the other table, `where` of its rows a function chooses.
    """
    rng = np.random.default_rng(2)
    number, year = (a.ravel() for a in np.indices((10, 9)))
    warmth, snow = rng.normal(0, 1, (2, number.size))
    target = rng.normal(-0.5, 0.3, 10)[number] - 0.3 * warmth + 0.2 * snow + rng.normal(0, 0.2, number.size)
    columns = {"gid": [f"g{n}" for n in number], "year": 2001 + year, "target": target, "warmth": warmth, "snow": snow}
    every = pd.DataFrame({**columns, "land": number // 3, "cell": number // 2}).astype({"land": str, "cell": str})
    every["land"], every["cell"] = "l" + every["land"], "c" + every["cell"]
    every["size"] = rng.uniform(1, 9, 10)[number]
    every[number < 6].to_csv(folder / "here.csv", index=False)
    other = every.copy()
    if where is not None:
        other.loc[where(other), "target"] += shift
    other.to_csv(folder / "there.csv", index=False)
    samples = read_samples_table(folder / "here.csv", **ROLES)
    network = {"widths": [(4,)], "l1": [1e-3], "input_noise": [0.1], "members": 1, "epochs": 30, "patience": 10}
    table = SampleTable(path=folder / "there.csv", **ROLES)
    return samples, FeedForward(recipes=[Recipe()], block=16, pretrain=["transfer"], transfer=table, **network), other


KINDS = {"logo": ["cell"], "loyo": ["year"], "both_out": ["cell", "year"], "leave_region_out": ["land", "cell"]}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("scheme", KINDS)
def test_rows_of_another_table_are_withheld_as_those_of_the_samples(scheme, tmp_path):
    """Told in the fit, and true to the last bit: the balances of withheld rows may be anything."""
    samples, settings, other = tables(tmp_path)
    folds = make_folds(samples, scheme, inner=2, parts=3, blocks=2)
    before = fit("ff_fcnn", samples, folds, settings)
    fold = len(folds) // 2
    names = {"cell": "group", "year": "year", "land": "region"}
    withheld = np.zeros(len(other), bool)
    for kind in KINDS[scheme]:
        scored = samples[names[kind]].values[folds.score[fold]]
        withheld |= other[kind].isin(scored).to_numpy()
    assert not (before["pretraining_seen"].values[fold] & withheld).any()
    np.testing.assert_array_equal(before["pretraining_glacier"].values.astype(str), other["gid"])
    np.testing.assert_array_equal(before["pretraining_year"].values, other["year"])
    if scheme in ("logo", "loyo", "leave_region_out"):
        np.testing.assert_array_equal(before["pretraining_seen"].values[fold], ~withheld)
        line = choices(before).iloc[fold]
        assert (line["transfer_rows"], line["transfer_withheld"]) == ((~withheld).sum(), withheld.sum())
    samples, settings, _ = tables(tmp_path, 3.0, lambda t: withheld)
    after = fit("ff_fcnn", samples, folds, settings)
    assert differing(before, after, fold) == []
    assert any("parameters" in differing(before, after, f) for f in range(len(folds)))
    samples, settings, _ = tables(tmp_path, 3.0, lambda t: before["pretraining_seen"].values[fold])
    assert "parameters" in differing(before, fit("ff_fcnn", samples, folds, settings), fold)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_inner_splits_withhold_rows_of_another_table_too(tmp_path):
    """Where the other table knows the truth, a search that saw it at the inner rows would find an error of nothing."""
    samples, settings, _ = tables(tmp_path)
    folds = make_folds(samples, "logo", inner=3)
    one = fit("ff_fcnn", samples, folds, settings.model_copy(update={"epochs": 200, "patience": 200}))
    assert not any(r["within_reach"] for r in json.loads(one.attrs["recipes"]))  # the other table may lie far away
    residual = one["inner_prediction"].values - samples["mass_balance"].values
    assert np.nanstd(residual) > 0.15  # the noise of the balances alone is 0.2


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_another_table_without_the_predictors_is_named(tmp_path):
    samples, settings, other = tables(tmp_path)
    other.drop(columns="snow").to_csv(tmp_path / "there.csv", index=False)
    with pytest.raises(InputError, match=r"transfer.*\n.*predictors of the samples\n.*no snow"):
        fit("ff_fcnn", samples, make_folds(samples, "logo", inner=2, parts=3), settings)
    (tmp_path / "there.csv").unlink()
    with pytest.raises(InputError, match=r"there\.csv"):
        model_of("ff_fcnn", settings).require()


def test_rows_beside_the_samples_by_hand(toys):
    """Glaciers a and b, two years each: what a fit on a alone withholds, and one on the year 2001 alone."""
    place = {"longitude": [0.0, 0.0, 5.0, 5.0], "latitude": [0.0] * 4}
    here = toys.table(np.zeros((4, 1)), np.zeros(4), ["a", "a", "b", "b"], np.array([2001, 2002] * 2), **place)
    here = here.assign_coords(group=("sample", ["p", "p", "q", "q"]), region=("sample", ["x", "x", "y", ""]))
    glacier, year = ["a", "b", "c", "d", "e", "f"], np.array([2002, 2003, 2001, 2001, 2002, 2001])
    where = {"longitude": [0.0, 5.0, 5.5, 0.0, 0.0, 9.0], "latitude": [0.0] * 6}
    there = toys.table(np.zeros((6, 1)), np.zeros(6), glacier, year, **where)
    there = there.assign_coords(group=("sample", ["p", "q", "r", "q", "p", "r"]), region=("sample", [""] * 5 + ["y"]))
    own, sample = Labelled.of_samples(here, table_of(here))
    beside, _ = Labelled.of_samples(there, table_of(there))
    on_a, on_2001 = np.array([True, True, False, False]), np.array([True, False, True, False])
    withheld = Withheld(own, sample, beside)
    assert withheld.rows(on_a).tolist() == [False, True, False, True, False, True]  # b; group q; region y
    assert withheld.rows(on_2001).tolist() == [True, False, False, False, True, False]  # the year 2002
    near = Withheld(own, sample, beside, buffer_km=100.0)
    assert near.rows(on_a).tolist() == [False, True, True, True, False, True]  # c lies 56 km from b
    assert not withheld.rows(np.ones(4, bool)).any()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"pretrain": "transfer"}, "transfer"),
        ({"transfer": {"path": "t.csv", **ROLES}}, "transfer"),
        ({"frozen": [0, 1]}, "pretrain"),
        ({"pretrain": "oggm"}, "simulation"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given, told):
    with pytest.raises(ValidationError, match=told):
        FeedForward(**given)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_where_a_fold_withholds_all_of_another_table_its_nets_begin_as_if_there_were_none(tmp_path):
    samples, settings, other = tables(tmp_path)
    first = make_folds(samples, "loyo", inner=2, parts=3)
    scored = samples["year"].values[first.score[0]]
    other[other["year"].isin(scored)].to_csv(tmp_path / "there.csv", index=False)
    found = fit("ff_fcnn", samples, first, settings)
    assert not found["pretraining_seen"].values[0].any()
    assert np.isfinite(found["parameters"].values).all()


CONFIG = """\
samples: {path: here.csv, glacier: gid, year: year, target: target, target_units: m w.e., group: cell, region: land}
models:
  ff_fcnn:
    pretrain: [none, transfer]
    transfer: {path: there.csv, glacier: gid, year: year, target: target, target_units: m w.e., region: land}
validation: {models: [mean, ff_fcnn], schemes: [logo]}
"""


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_other_table_is_a_file_of_the_networks_stage(tmp_path):
    """Beside the configuration, so that its path is relative to that, and its changes make the fit stale."""
    tables(tmp_path)
    (tmp_path / "own.yaml").write_text(CONFIG)
    stages = {s.name: s for s in table_of_stages(load_config(tmp_path / "own.yaml"))}
    (paths, what), *others = stages["learning/ff_fcnn"].files
    assert (str(paths), what, others) == (str(tmp_path / "there.csv"), "transfer ff_fcnn", [])
    assert not stages["learning/mean"].files
