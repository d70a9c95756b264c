"""Whether the RMSE of the scheme `domain` is the one that predictions of unmeasured glaciers have, on made regions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.spatial.distance import cdist

from glacmb_grid import sphere
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.kernel import Hyper, Inputs
from glacmb_grid.learning.kriging import learn, posterior

YEARS = 12
TRUE = {
    "constant": 0.5, "weather_linear": 0.5, "static_linear": 0.4, "position": 0.3, "year_position": 0.2,
    "position_near": 200.0, "noise": 0.15,
}  # fmt: skip
"""Amplitudes, m w.e., and length, km, near those that the regions are made with."""


def region(seed, *, measured=30, clusters=6, spread_km=20.0, predicted=250):
    """A region of 1,600 x 1,100 km whose measured glaciers lie in clusters; balances at all glaciers and years.

    Weather and static predictors are smooth over 800 km; what they do not explain is correlated over 200 km, a level
    of .3 and yearly errors of .2 m w.e.; all balances have measurement errors of .1.
    """
    rng = np.random.default_rng(seed)
    east, north = rng.uniform(70, 88, predicted), rng.uniform(30, 40, predicted)
    centre = rng.choice(predicted, clusters, replace=False)
    of = np.r_[np.arange(clusters), rng.choice(clusters, measured - clusters, p=rng.dirichlet(np.full(clusters, 3.0)))]
    east = np.r_[east, east[centre][of] + rng.normal(0, spread_km / 95, measured)]
    north = np.r_[north, north[centre][of] + rng.normal(0, spread_km / 111, measured)]
    xyz = sphere.unit_vectors(east, north)
    distance = sphere.arc_km(cdist(xyz, xyz))
    size = len(east)
    wide, near = (np.linalg.cholesky(np.exp(-distance / km) + 1e-8 * np.eye(size)) for km in (800.0, 200.0))
    static, own = wide @ rng.normal(size=(size, 3)), rng.normal(size=(size, 2))
    warm, wet = (wide @ rng.normal(size=(size, YEARS)) for _ in range(2))
    level, yearly = near @ rng.normal(size=size) * 0.3, near @ rng.normal(size=(size, YEARS)) * 0.2
    balance = -0.3 - 0.35 * warm * (1 + 0.3 * np.tanh(static[:, :1])) + 0.15 * wet + 0.25 * np.tanh(static[:, 1:2])
    balance = balance + 0.1 * own[:, :1] + level[:, None] + yearly + rng.normal(0, 0.1, (size, YEARS))
    begun = YEARS - rng.integers(4, YEARS + 1, size)
    glacier, year = (a.ravel() for a in np.indices((size, YEARS)))
    inputs = Inputs(
        np.stack([warm.ravel(), wet.ravel()], axis=1),
        np.concatenate([static, own], axis=1)[glacier],
        glacier,
        year,
        np.stack([east, north], axis=1)[glacier],
    )
    known = (glacier >= predicted) & (year >= begun[glacier])  # records of unequal length
    return inputs, balance.ravel(), known, glacier < predicted


def ridge(inputs, balance, fit):
    columns = np.concatenate([inputs.weather, inputs.static], axis=1)
    columns = np.concatenate([np.ones((len(columns), 1)), (columns - columns[fit].mean(0)) / columns[fit].std(0)], 1)
    penalty = 2 * np.diag([0.0] + [1.0] * (columns.shape[1] - 1))
    weights = np.linalg.solve(columns[fit].T @ columns[fit] + penalty, columns[fit].T @ balance[fit])
    return lambda rows: columns[rows] @ weights


def kriging(inputs, balance, fit):
    """The Gaussian process with the kernel that is nearly right."""
    found = posterior(inputs.take(fit), balance[fit], Hyper(tuple(TRUE), np.array(list(TRUE.values()))))
    return lambda rows: found.mean(inputs.take(rows))


def gaussian_process(inputs, balance, fit):
    """The Gaussian process that learns its kernel in every fold."""
    found = posterior(inputs.take(fit), balance[fit], learn(inputs.take(fit), balance[fit]))
    return lambda rows: found.mean(inputs.take(rows))


def promised(seed, models=(ridge, kriging), **how):
    """RMSE of each scheme over the RMSE at unmeasured glaciers, by model."""
    inputs, balance, known, unmeasured = region(seed, **how)
    rows = np.flatnonzero(known)
    names = np.array([f"g{g:03d}" for g in inputs.glacier[rows]])
    samples = xr.Dataset(
        coords={
            "sample": [f"{g}:{y}" for g, y in zip(names, inputs.year[rows], strict=True)],
            "glacier": ("sample", names.astype(object)),
            "year": ("sample", inputs.year[rows]),
            "longitude": ("sample", inputs.position[rows, 0]),
            "latitude": ("sample", inputs.position[rows, 1]),
        }
    )
    first = np.flatnonzero(unmeasured)[::YEARS]
    targets = pd.DataFrame(inputs.position[first], columns=["longitude", "latitude"], index=[f"u{i}" for i in first])
    out = []
    for model in models:

        def error(fit, score, model=model):
            return (model(inputs, balance, fit)(score) - balance[score]) ** 2

        true = np.sqrt(error(rows, np.flatnonzero(unmeasured)).mean())
        line = {"model": model.__name__, "seed": seed, "true": true}
        for scheme in ("domain", "logo", "blocks"):
            folds = make_folds(samples, scheme, targets=targets)
            squares = [error(rows[f], rows[s]) for f, s in zip(folds.fit, folds.score, strict=True)]
            line[scheme] = np.sqrt(np.concatenate(squares).mean()) / true
        out.append(line)
    return out


@pytest.mark.slow
def test_domain_tells_the_error_at_unmeasured_glaciers_and_logo_does_not():
    found = pd.DataFrame([line for seed in range(40) for line in promised(seed)])
    schemes = ["domain", "logo", "blocks"]
    mean = found.groupby("model")[schemes].mean()
    off = (found[schemes] - 1).abs().groupby(found["model"]).mean()
    for model in ("ridge", "kriging"):
        assert mean.loc[model, "domain"] == pytest.approx(1, abs=0.1)
        assert mean.loc[model, "logo"] < 0.8
        assert off.loc[model, "domain"] < 0.7 * off.loc[model, "logo"]
        assert off.loc[model, "domain"] < 0.3
