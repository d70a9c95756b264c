"""A region, or a table, with observations of one glacier alone: judged by its years, and by nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.stores.artefacts import EVALUATION, read
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.workflow.check import check
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.runner import run

YEARS_ONLY = ["validation.schemes=[loyo]", "product=false"]


def quiet(_):
    """Say nothing."""


def refusal(call):
    with pytest.raises((InputError, InputErrors)) as raised:
        call()
    return str(raised.value)


@pytest.fixture(scope="module")
def alone(world, tmp_path_factory):
    """A configuration over a finished run whose observations are now those of one glacier; and its balances."""
    folder = tmp_path_factory.mktemp("alone")
    path = world.run(folder, validation={"models": ["mean", "ridge"]}, product={"model": "ridge"})
    file = folder / "raw" / "fog" / "FOG_EE_MASS_BALANCE.csv"
    table = pd.read_csv(file)
    whole = table[(table["LOWER_BOUND"] == 9999) & table["ANNUAL_BALANCE"].notna()]
    mine = whole["WGMS_ID"].value_counts().index[0]
    table[table["WGMS_ID"] == mine].to_csv(file, index=False)
    return path, whole[whole["WGMS_ID"] == mine]


def test_schemes_that_leave_glaciers_out_and_products_are_refused_with_the_way_out(alone):
    said = refusal(lambda: check(load_config(alone[0], ["validation.schemes=[loyo, both_out, blocks]"])))
    for scheme in ("logo", "both_out", "blocks"):  # logo for the product
        assert (
            f"validation: {scheme}\n    expected: observations left to fit on in every fold: those of at least two"
            in said
        )
    assert "`validation: {schemes: [loyo]}`" in said
    assert "a product needs several (`product: false`)" in said


def test_cubes_with_one_measured_glacier_are_judged_by_its_years(alone):
    path, observed = alone
    config = load_config(path, YEARS_ONLY)
    found = "\n".join(check(config))
    assert f"loyo: {len(observed)} folds" in found
    assert "no product" in found
    ran = run(config, say=quiet)
    assert ran[0] == "observations"
    assert ran[-1] == "evaluation"
    assert "products" not in {name for name, *_ in status(config)}
    predictions = read(RunStore(config.root), EVALUATION["predictions"])
    assert predictions["glacier"].nunique() == 1
    mean = predictions[predictions["model"] == "mean"].set_index("year")
    balances = observed.set_index("YEAR")["ANNUAL_BALANCE"] / 1000
    for year in balances.index:  # the mean of the other years
        assert mean["predicted"][year] == pytest.approx(balances.drop(year).mean())


def test_a_table_of_one_glacier_is_judged_by_its_years(tmp_path):
    rng = np.random.default_rng(0)
    weather = rng.normal(0, 1, (12, 2))
    balance = -0.5 + 0.4 * weather[:, 0] + rng.normal(0, 0.2, 12)
    table = pd.DataFrame({"glacier": "only", "year": 2001 + np.arange(12), "a": weather[:, 0], "b": weather[:, 1]})
    table.assign(balance=balance.round(3)).to_csv(tmp_path / "t.csv", index=False)
    roles = {"glacier": "glacier", "year": "year", "target": "balance", "target_units": "m w.e."}
    sections = {"samples": {"path": "t.csv", **roles}, "store": {"root": "out"}, "scores": {"bootstrap": 100}}
    sections["validation"] = {"schemes": ["loyo"], "models": ["mean", "ridge"]}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(sections))
    config = load_config(tmp_path / "own.yaml")
    assert "loyo: 12 folds" in check(config)
    run(config, say=quiet)
    scores = read(RunStore(config.root), EVALUATION["scores"])
    rmse = scores[(scores["metric"] == "rmse") & (scores["slice"] == "all")].set_index("model")["value"]
    assert rmse["ridge"] < 0.3 < rmse["mean"]
    said = refusal(lambda: check(load_config(tmp_path / "own.yaml", ["validation.schemes=[loyo, logo]"])))
    assert "`validation: {schemes: [loyo]}`" in said


def test_a_group_of_several_glaciers_is_one_too(toys):
    samples = toys.known(glaciers=3, years=4)
    group = samples.assign_coords(group=("sample", np.full(samples.sizes["sample"], "all", dtype=object)))
    assert "those of at least two glaciers (or groups)" in refusal(lambda: make_folds(group, "logo"))
    assert len(make_folds(group, "loyo")) == 4


def test_rates_without_a_product_are_a_contradiction(alone):
    said = refusal(lambda: load_config(alone[0], ["product=false", "observations.geodetic={path: rates.csv}"]))
    assert "a product with `observations.geodetic`" in said
