"""Columns that hold the target under other names, and columns that only look as if they did."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.own_table import read_samples_table
from glacmb_grid.inputs.own_table.disguises import disguises

ROLES = {"glacier": "gid", "year": "year", "target": "target", "target_units": "m w.e."}


def frame(glaciers=8, years=10, seed=0):
    """Balances of glaciers with levels of their own, two honest predictors and ten of noise."""
    rng = np.random.default_rng(seed)
    g, y = (a.ravel() for a in np.indices((glaciers, years)))
    warmth, snow = rng.normal(0, 1, (2, g.size))
    target = rng.normal(-0.5, 0.3, glaciers)[g] - 0.3 * warmth + 0.2 * snow + rng.normal(0, 0.2, g.size)
    noise = {f"q{'abcdefghij'[i]}": rng.normal(0, 1, g.size) for i in range(10)}
    columns = {"gid": [f"g{n}" for n in g], "year": 2001 + y, "target": target.round(4)}
    return pd.DataFrame(columns | {"warmth": warmth, "snow": snow, "size": rng.uniform(1, 9, glaciers)[g]} | noise)


def read(table, tmp_path, **options):
    table.to_csv(tmp_path / "table.csv", index=False)
    return read_samples_table(tmp_path / "table.csv", **ROLES, **options)


def refusal(table, tmp_path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises((InputError, InputErrors)) as raised:
            read(table, tmp_path, **options)
    return str(raised.value)


def by_glacier(table, what):
    return table.groupby("gid")["target"].transform(what)


def gains_and_losses(t, rng):
    gain = rng.gamma(4, 0.3, len(t))
    return {"col_a": gain, "col_b": t["target"] - gain}


def three_parts(t, rng):
    gain, calving = rng.gamma(4, 0.3, len(t)), rng.gamma(2, 0.2, len(t))
    return {"col_a": gain, "col_b": -calving, "col_c": t["target"] - gain + calving}


def twelve_months(t, rng):
    months = rng.normal(0, 1, (len(t), 12))
    months[:, 11] += t["target"] - months.sum(axis=1)
    return {f"thing{'abcdefghijkl'[m]}": months[:, m] for m in range(12)}


def seldom(t, rng):
    gain = pd.Series(rng.gamma(4, 0.3, len(t))).where(rng.random(len(t)) < 0.4)
    return {"col_a": gain, "col_b": t["target"] - gain}


def two_surfaces(t, rng):
    before = rng.normal(3000, 200, len(t))
    return {"col_a": before, "col_b": before + t["target"] / 0.85}


LEAKS = {
    "copy with 1 % noise": lambda t, r: {"col_a": t["target"] * (1 + 0.01 * r.normal(0, 1, len(t)))},
    "copy with noise of 5 cm": lambda t, r: {"col_a": t["target"] + r.normal(0, 0.05, len(t))},
    "rounded": lambda t, _: {"col_a": t["target"].round(1)},
    "rank": lambda t, _: {"col_a": t["target"].rank()},
    "exponential": lambda t, _: {"col_a": np.exp(3 * t["target"])},
    "cube, turned around": lambda t, _: {"col_a": -(t["target"] ** 3)},
    "anomaly": lambda t, _: {"col_a": t["target"] - by_glacier(t, "mean")},
    "standardised": lambda t, _: {"col_a": (t["target"] - by_glacier(t, "mean")) / by_glacier(t, "std")},
    "volume": lambda t, _: {"col_a": t["target"] * t["size"] * 1e6},
    "cumulative": lambda t, _: {"col_a": by_glacier(t, "cumsum")},
    "gains and losses": gains_and_losses,
    "three parts": three_parts,
    "twelve months": twelve_months,
    "gains and losses of some rows": seldom,
    "two surfaces": two_surfaces,
    "ten numbers, with gaps": lambda t, _: {"col_a": (2 * t["target"] + 1).where(np.arange(len(t)) % 8 == 0)},
}


@pytest.mark.parametrize("leak", LEAKS)
def test_the_target_in_disguise_is_refused_with_the_names_of_its_columns(tmp_path, leak):
    table = frame()
    columns = LEAKS[leak](table, np.random.default_rng(5))
    said = refusal(table.assign(**columns), tmp_path)
    for name in columns:
        assert name in said
    for innocent in ("warmth", "snow", "qa,", "qj"):
        assert innocent not in said
    assert "exclude" in said
    free = read(table.assign(**columns), tmp_path, exclude=list(columns))
    assert set(free["predictor"].values).isdisjoint(columns)


def test_what_is_allowed_is_told(tmp_path):
    table = frame()
    table = table.assign(**LEAKS["gains and losses"](table, np.random.default_rng(5)))
    assert "allow: [col_a, col_b]" in refusal(table, tmp_path)
    assert "col_b" in refusal(table, tmp_path, allow=["col_a"])
    with pytest.warns(UserWarning, match=r"col_a, col_b: R2 1\.000 with the target by a sum of multiples"):
        samples = read(table, tmp_path, allow=["col_*"])
    assert {"col_a", "col_b"} <= set(samples["predictor"].values)


def test_a_close_column_is_told_by_name(tmp_path):
    """A snow line that follows the balance with R2 0.96 is a measurement of the same summer, perhaps."""
    table, rng = frame(), np.random.default_rng(1)
    spread = float(table["target"].std())
    table["height"] = 3000 - 400 * (table["target"] + rng.normal(0, 0.2 * spread, len(table)))
    with pytest.warns(UserWarning, match=r"height: R2 0\.9[567]\d with the target by"):
        samples = read(table, tmp_path)
    assert "height" in samples["predictor"].values
    assert "height: R2" in samples.attrs["notes"]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("glaciers", "years"), [(3, 3), (4, 5), (13, 10)])
def test_noise_is_no_leak_however_many_columns_there_are(glaciers, years, seed):
    rng = np.random.default_rng(seed)
    g, y = (a.ravel() for a in np.indices((glaciers, years)))
    columns = {f"n{i}": rng.normal(0, 1, g.size) for i in range(120)}
    assert disguises(columns, rng.normal(0, 1, g.size), g, y, 0.95) == []


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rows", [8, 10, 14])
def test_a_strong_predictor_makes_no_leak_of_its_neighbours(rows, seed):
    """With few rows, a column of noise beside an honest predictor of R2 0.95 tells a little more of the target."""
    rng = np.random.default_rng(seed)
    weather = rng.normal(0, 1, rows)
    target = 0.5 * weather + rng.normal(0, 0.11, rows)
    columns = {"weather": weather} | {f"n{i}": rng.normal(0, 1, rows) for i in range(8)}
    found = disguises(columns, target, np.zeros(rows), np.arange(rows), 0.95)
    assert all(d.columns == ("weather",) for d in found)


def test_honest_predictors_are_not_told(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples = read(frame(), tmp_path)
    assert samples.sizes["predictor"] == 13


@pytest.mark.real
@pytest.mark.parametrize("name", ["hma_table", "china_table"])
def test_no_false_alarm_in_real_tables(real_data, name):
    from pathlib import Path

    import yaml

    section = yaml.safe_load((Path(__file__).parents[1] / "configs" / f"{name}.yaml").read_text())["samples"]
    section["path"] = section["path"].replace("${GLACMB_DATA}", str(real_data))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_samples_table(**section)
