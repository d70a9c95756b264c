"""Networks that learn from geodetic rates: what it does to them, that nothing leaks, and a run with it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import glacmb_grid as gg
from glacmb_grid.config import load_config
from glacmb_grid.constraints import BEYOND, TWICE
from glacmb_grid.folds.constraints import OWN, allowed_constraints
from glacmb_grid.folds.schemes import join_folds, make_folds
from glacmb_grid.learning.contract import Task, fit_model
from glacmb_grid.learning.nets import ensembles
from glacmb_grid.learning.ragged import unpack
from glacmb_grid.learning.registry import model_of
from glacmb_grid.samples import with_operator
from glacmb_grid.settings import FeedForward, Recipe
from glacmb_grid.stores.artefacts import (
    CONSTRAINTS,
    EVALUATION,
    GEODETIC,
    NOT_LEARNT,
    SAMPLES,
    fit_of,
    folds_of,
    read,
)
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.validation.audit import probe, scrambled_constraints
from glacmb_grid.weights import identity
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.presenting import write_report
from glacmb_grid.workflow.runner import run

pytestmark = pytest.mark.ends

FEW = ["degree_days_*", "snowfall_*"]
MEASURED, GLACIERS, YEARS = 6, 24, (2001, 2012)
SPANS = (("2000-10-01", "2003-06-01"), ("2003-06-01", "2006-10-01"), ("2006-10-01", "2010-06-01"))


def settings(weights, **changed):
    many = {"predictors": FEW, "recipes": [Recipe()], "widths": [(6,)], "input_noise": [0.1], "l1": [0.001]}
    many |= {"members": 2, "epochs": 60, "patience": 20, "block": 8, "geodetic_weight": weights}
    return FeedForward(**(many | changed))


def only(samples, which):
    some = samples.isel(sample=np.flatnonzero(which), row=np.flatnonzero(which))
    return with_operator(some, identity(some["sample"].values))


@pytest.fixture(scope="module")
def region(toys):
    """Samples of a few measured glaciers, all rows with their true balance, and the predictors."""
    predictors = toys.predictors(glaciers=GLACIERS, years=YEARS)
    every = toys.samples(predictors, noise=0.0)
    measured = np.isin(every["glacier"].values, predictors["glacier"].values[:MEASURED])
    return only(every, measured), every, predictors


def rates_of(every, offset=0.0, uncertainty=0.1, spans=SPANS):
    """Rates of the truth, all of them off by as much."""
    lines = []
    for glacier in np.unique(every["glacier"].values.astype(str)):
        mine = every.isel(sample=every["glacier"].values == glacier)
        own = dict(zip(mine["year"].values.tolist(), mine["mass_balance"].values, strict=True))
        for begin, end in spans:
            days = np.arange(begin, end, dtype="datetime64[D]").astype("datetime64[M]").astype(int)
            year = days // 12 + 1970 + (days % 12 >= 9)
            lines.append((glacier, begin, end, np.mean([own[y] for y in year.tolist()]) + offset, uncertainty))
    return pd.DataFrame(lines, columns=["glacier", "begin", "end", "rate", "uncertainty"])


@pytest.fixture(scope="module")
def constraints(region):
    _, every, predictors = region
    made, outside = gg.build_constraints(predictors, rates_of(every))
    assert outside.empty
    return made


# ---- what it does ----


def test_a_planted_level_is_learnt_and_the_weather_kept(region):
    """Glaciers steeper than all measured ones lie higher by 0.1 m w.e. a year for each degree more; rates tell it.

    Their mean level, 0.4 m w.e. a year and more too low without rates, is right within 0.1 with them. Correlations of
    the deviations from the mean of a glacier with those of the truth stay within 0.02.
    """
    _, every, predictors = region
    slope = predictors["predictors"].sel(predictor="slope").isel(year=0).to_series().to_dict()
    flat = sorted(slope.values())[7]
    planted = np.array([0.1 * max(slope[g] - flat, 0) for g in every["glacier"].values])
    every = every.assign(mass_balance=every["mass_balance"] + planted)
    samples = only(every, planted == 0)
    made, _ = gg.build_constraints(predictors, rates_of(every, uncertainty=0.2))
    folds = make_folds(samples, "logo", inner=2, parts=2)
    rows, truth = every.drop_dims(["sample", "entry"]), every["mass_balance"].values[planted > 0].reshape(16, -1)
    level, likeness = [], []
    for weight in (0.0, 0.01):
        how = settings([weight], predictors=[*FEW, "slope"], widths=[(20, 10)], epochs=800, patience=100)
        parameters = gg.fit("ff_fcnn", samples, folds, how, constraints=made)
        found = gg.predict(parameters, rows).mean(("fold", "member")).values[planted > 0].reshape(truth.shape)
        level.append(float((found - truth).mean()))
        deviations = [v - v.mean(axis=1, keepdims=True) for v in (found, truth)]
        likeness.append(np.corrcoef(*(d.ravel() for d in deviations))[0, 1])
    assert level[0] < -0.4
    assert abs(level[1]) < 0.1
    assert abs(likeness[1] - likeness[0]) < 0.02
    assert likeness[1] > 0.95


def test_none_wins_where_rates_mislead_and_rates_where_they_help(region):
    """Rates of the truth, of which two glaciers with observations cannot tell; and the same three metres off."""
    _, every, predictors = region
    few = only(every, np.isin(every["glacier"].values, predictors["glacier"].values[:3]))
    folds = make_folds(few, "logo", inner=2, parts=3)
    how = settings([0.0, 1.0], epochs=300, patience=60)
    chosen = {}
    for name, offset in (("true", 0.0), ("wrong", 3.0)):
        made, _ = gg.build_constraints(predictors, rates_of(every, offset=offset, uncertainty=0.05))
        parameters = gg.fit("ff_fcnn", few, folds, how, constraints=made)
        weights = ['"geodetic_weight": 1.0' in parameters["candidate"].values[c] for c in parameters["choice"].values]
        np.testing.assert_array_equal(parameters["rates_fitted"].any("constraint"), weights)
        chosen[name] = sum(weights)
        # glaciers with rates alone are learnt from: they are not moved to within reach of those with balances
        assert not any(r["within_reach"] for r in json.loads(parameters.attrs["recipes"]))
    assert chosen["true"] == 3
    assert chosen["wrong"] == 0


def test_without_a_weight_or_without_rates_all_is_as_ever(region, constraints):
    samples, _, _ = region
    folds = make_folds(samples, "logo", inner=2, parts=2)
    plain = gg.fit("ff_fcnn", samples, folds, settings([0.0, 1.0]))
    none = gg.fit("ff_fcnn", samples, folds, settings([0.0]), constraints=constraints)
    assert not none["rates_fitted"].any()
    kept = none.drop_vars(["rates_fitted", "constraint"])
    assert kept.drop_attrs().identical(plain.drop_attrs())
    assert "rates_fitted" not in plain
    ridge = [gg.fit("ridge", samples, folds, constraints=c) for c in (None, constraints)]
    assert ridge[0].identical(ridge[1])


# ---- nothing leaks ----


def fitted(parameters, number):
    """All that was fitted in one fold."""
    one = parameters.isel(fold=number).drop_vars("rates_fitted")
    out = {str(n): v.values for n, v in one.data_vars.items() if not str(n).startswith("state_")}
    out["loss"] = out["loss"][:, np.isfinite(out["loss"]).any(axis=(0, 2))]  # as long as that of the fold that has most
    return out | unpack(parameters, number)


def differing(a, b):
    return [n for n in a if not np.array_equal(a[n], b[n], equal_nan=a[n].dtype.kind == "f")]


@pytest.mark.parametrize("scheme", ["logo", "loyo", "both_out", OWN])
def test_rates_that_tell_of_what_a_fold_withholds_change_no_bit_of_it(scheme, region, constraints):
    """All folds fitted at once, some tuned together: changed are rates, their uncertainties and their predictors."""
    samples, _, _ = region
    triples = (samples["year"].values - YEARS[0]) // 3
    samples = samples.assign_coords(fold_loyo=("sample", triples))
    folds = make_folds(samples, scheme, inner=2, parts=5, blocks=10 if scheme == "both_out" else 3)
    how = settings([1.0])
    allowed = allowed_constraints(folds, samples, constraints)
    before = gg.fit("ff_fcnn", samples, folds, how, seed=3, constraints=constraints)
    np.testing.assert_array_equal(before["rates_fitted"], allowed.fit)
    number = 1
    scored = samples["glacier"].values[folds.score[number]], samples["year"].values[folds.score[number]]
    entry, row = (constraints[f"operator_{n}"].values for n in ("constraint", "row"))
    contained = np.isin(entry, entry[np.isin(constraints["row_year"].values[row], scored[1])])
    over = np.isin(np.arange(constraints.sizes["constraint"]), entry[contained])
    of = np.isin(constraints["glacier"].values, scored[0])
    changed = {"logo": of, "loyo": over, "both_out": of | over, OWN: of}[scheme]
    assert changed.any()
    assert not changed.all()
    other = scrambled_constraints(constraints, changed, np.random.default_rng(1))
    after = gg.fit("ff_fcnn", samples, folds, how, seed=3, constraints=other)
    found = differing(fitted(before, number), fitted(after, number))
    assert found == [] if scheme != OWN else "parameters" in found
    reached = [f for f in range(len(folds)) if (allowed.fit[f] & changed).any()]
    assert reached
    for fold in reached:
        assert "parameters" in differing(fitted(before, fold), fitted(after, fold))
    for fold in sorted({*range(len(folds))} - {*reached}):
        assert differing(fitted(before, fold), fitted(after, fold)) == []


def test_one_rate_of_the_withheld_glacier(region, constraints):
    """Its change alone, at a glacier: no bit of the fold that withholds it, and bits of the others."""
    samples, _, _ = region
    folds = make_folds(samples, "logo", inner=2)
    change = constraints["change"].values.copy()
    change[constraints["glacier"].values == "G02"] += 5.0
    fits = [gg.fit("ff_fcnn", samples, folds, settings([1.0]), constraints=constraints.assign(change=("constraint", c)))
            for c in (constraints["change"].values, change)]  # fmt: skip
    for fold, name in enumerate(folds.name):
        found = differing(*(fitted(f, fold) for f in fits))
        assert ("parameters" in found) == (name != "G02")
        assert bool(found) == (name != "G02")


def test_the_probe_of_an_audit_scrambles_withheld_rates_and_finds_a_leak(region, constraints, monkeypatch):
    samples, _, _ = region
    folds = make_folds(samples, "both_out", inner=2, parts=2)
    models = {"ff_fcnn": model_of("ff_fcnn", settings([0.0, 1.0], epochs=20, members=1))}
    assert probe(samples, folds, models, fold=1, constraints=constraints) == {"ff_fcnn": []}

    def everything(folds, samples, constraints):
        allowed = allowed_constraints(folds, samples, constraints)
        return replace(allowed, fit=np.ones_like(allowed.fit))

    monkeypatch.setattr(ensembles, "allowed_constraints", everything)
    models = {"ff_fcnn": model_of("ff_fcnn", settings([1.0], epochs=20, members=1))}
    assert "parameters" in probe(samples, folds, models, fold=1, constraints=constraints)["ff_fcnn"]


def test_parts_of_folds_and_little_memory_change_no_bit(region, constraints, monkeypatch):
    samples, _, _ = region
    parts = [make_folds(samples, s, inner=2, parts=2, blocks=2) for s in ("logo", "loyo")]
    folds, model = join_folds(parts), model_of("ff_fcnn", settings([0.0, 1.0]))
    whole = fit_model(model, Task(samples, folds, constraints=constraints))
    for block in folds.blocks:
        task = Task(samples, folds, constraints=constraints, part=tuple(block.tolist()))
        some = fit_model(model, task)
        for number, fold in enumerate(block):
            assert differing(fitted(some, number), fitted(whole, int(fold))) == []
    monkeypatch.setattr("glacmb_grid.learning.nets.sums._AT_ONCE", 30)
    again = fit_model(model, Task(samples, folds, constraints=constraints))
    np.testing.assert_array_equal(again["parameters"], whole["parameters"])


def test_constraints_that_are_none_are_refused(region):
    samples, _, _ = region
    folds = make_folds(samples, "logo", inner=2, parts=2)
    with pytest.raises(gg.InputError, match="build_constraints"):
        gg.fit("ff_fcnn", samples, folds, constraints=xr.Dataset())


# ---- a run ----


@pytest.fixture(scope="module")
def learnt(world, tmp_path_factory):
    """A finished run, to which rates of the truth were added, and then learnt from."""
    folder = tmp_path_factory.mktemp("learnt")
    with xr.open_dataset(world.raw() / "raw" / "truth.nc") as ds:
        ids, balance = ds["glacier_id"].values.astype(str), ds["mass_balance"].values.reshape(ds.sizes["glacier"], -1)
    spans = ("2000-10-01_2002-10-01", "2002-10-01_2004-10-01", "2000-10-01_2004-10-01")
    years = (slice(0, 2), slice(2, 4), slice(0, 4))
    lines = [
        f"{i},{span},{float(balance[k, own].mean())!r},0.2"
        for k, i in enumerate(ids)
        for span, own in zip(spans, years, strict=True)
    ]
    lines.append(f"{ids[0]},1980-01-01_2000-01-01,-1,0.1")
    rates = {"path": "rates.csv", "learn": True}
    changes = {"observations": {"geodetic": rates}, "models": {"ff_fcnn": {"geodetic_weight": 0.1}}}
    path = world.run(folder, link=True, **changes)
    (folder / "rates.csv").write_text("\n".join(["rgiid,period,dmdtda,err_dmdtda", *lines]) + "\n")
    said = []
    ran = run(load_config(path), say=said.append)
    return path, ran, "\n".join(said), ids


def test_only_what_learns_from_rates_is_made_again(learnt):
    path, ran, said, ids = learnt
    assert ran[:2] == ["geodetic/links", "geodetic/constraints"]
    assert "learning/ff_fcnn" in ran
    assert not {"learning/mean", "learning/ridge", "samples", "folds", "predictors"} & {*ran}
    assert f"{2 * len(ids)} geodetic rates of {len(ids)} glaciers to learn from" in said
    assert run(load_config(path), say=lambda _: None) == []
    again = load_config(path, ["observations.geodetic.learn=false"])
    stale = {name for name, state, _ in status(again) if state == "stale"}
    assert "learning/ff_fcnn" in stale
    assert not {"geodetic/links", "learning/ridge"} & stale


def test_a_run_says_which_rates_it_learnt_from(learnt):
    """A measured glacier is predicted by fits without its rates; an unmeasured one by fits that saw them."""
    path, _, said, ids = learnt
    store = RunStore(load_config(path).root)
    made, left_out = read(store, CONSTRAINTS), read(store, NOT_LEARNT)
    assert left_out["reason"].value_counts().to_dict() == {TWICE: len(ids), BEYOND: 1}
    fit, folds = read(store, fit_of("ff_fcnn", "logo")).load(), read(store, folds_of("logo"))
    allowed = allowed_constraints(folds, read(store, SAMPLES), made).fit
    np.testing.assert_array_equal(fit["rates_fitted"], allowed)
    assert allowed.any()
    assert not allowed.all()
    assert f"logo: {len(folds)} of {len(folds)} folds learnt from geodetic rates" in said
    compared, scores = read(store, GEODETIC["compared"]), read(store, GEODETIC["scores"])
    measured = np.isin(compared["glacier"].values, np.unique(read(store, SAMPLES)["glacier"].values))
    assert measured.any()
    np.testing.assert_array_equal(compared["independent"].values == 1, measured)
    count = scores[scores["metric"] == "bias"].set_index("slice")["n"]
    assert count["learnt from"] == (~measured).sum()
    assert count["independent"] == measured.sum()
    assert f"{int((~measured).sum())} of them were learnt from and are no independent judgement" in said
    page = write_report(load_config(path), say=lambda _: None).read_text(encoding="utf-8")
    assert f"The product was learnt from {int((~measured).sum())} of {len(measured)} rates" in page


def test_own_rates_are_a_scheme_of_their_own(world, learnt, tmp_path):
    schemes = {"validation": {"schemes": ["logo", OWN]}}
    with pytest.raises(gg.InputError, match="learn: true"):
        load_config(world.at(tmp_path, **schemes))
    path, *_ = learnt
    config = load_config(path, [f"validation.schemes=[logo, {OWN}]"])
    run(config, stage="evaluation", say=lambda _: None)
    store = RunStore(config.root)
    table = read(store, EVALUATION["predictions"])
    both = table[table["model"] == "ff_fcnn"].pivot(index="sample", columns="scheme", values="predicted")
    assert (both["logo"] != both[OWN]).all()
    plain = table[table["model"] == "ridge"].pivot(index="sample", columns="scheme", values="predicted")
    np.testing.assert_array_equal(plain["logo"], plain[OWN])
    scores = read(store, EVALUATION["scores"])
    assert set(scores["scheme"]) == {"logo", OWN}
