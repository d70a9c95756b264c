"""Texts about scores: how good the models are, which beat which, and what the truth says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pandas as pd

from glacmb_grid.products.geodetic import LEARNT
from glacmb_grid.settings import Judged, RunConfig
from glacmb_grid.stores.artefacts import EVALUATION, GEODETIC, PRODUCT, PRODUCT_FILE, TRUTH_SCORES, place, read
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.validation.scores import called_better, unbeaten_rivals

RIVALS_IN_WORDS = {
    "year_mean": "the mean of the glaciers measured in the same year",
    "year_level": "a linear model of the mean balance of each year, with the level and amplitude of each glacier",
}
"""What the rivals of all models are."""
FLOOR = "mean"
"""The model that says nothing: nobody asks whether it beats a rival."""
_REMARKS = {
    "random": " - rows of one glacier on both sides: not a fair test, only shown beside the others",
    "logo_own_geodetic": " - scored glaciers keep their own geodetic rates: not the skill at glaciers without any",
    "domain": " - as far from fitted glaciers as the predicted ones are: the expected RMSE of this product",
}


def summary(config: Judged, states: Mapping[str, str]) -> Iterator[str]:
    """Lines about the scores, which model beat which, and where the product is.

    Parameters
    ----------
    config : RunConfig or TableConfig
    states : mapping
        State of every stage by name: `current`, `stale`, `missing`, `blocked`.
    """
    store = RunStore(config.root)
    if states["evaluation"] == "missing":
        return
    if states["evaluation"] != "current":
        yield "scores are not current with this configuration: run without --stage to renew them"
        return
    scores = read(store, EVALUATION["scores"])
    yield from score_lines(scores, config.scores.level)
    yield from verdict_lines(read(store, EVALUATION["comparisons"]))
    if not isinstance(config, RunConfig) or not config.product or states["products"] != "current":
        return
    truth = read(store, TRUTH_SCORES)
    if config.product.truth is not None and truth is not None:
        yield from truth_lines(truth, scores)
    if config.observations.geodetic is not None and states["geodetic/comparison"] == "current":
        yield f"\n{geodetic_line(read(store, GEODETIC['scores']))}"
    yield f"\nproduct ({config.product.model}): {place(store, PRODUCT_FILE)}"
    yield f"         {place(store, PRODUCT)}"


def score_lines(scores: pd.DataFrame, level: float) -> Iterator[str]:
    """A table of scores for every scheme."""
    yield f"\nout of fold, m w.e.; {level:.0%} block-bootstrap interval of the RMSE"
    for (scheme, protocol), table in scores[scores["slice"] == "all"].groupby(["scheme", "protocol"], sort=False):
        yield f"  {scheme}, {protocol}, n = {table['n'].iloc[0]}{_REMARKS.get(str(scheme), '')}"
        heads = f"{'R2':>7s}{'MAE':>7s}{'bias':>8s}{'per glacier':>13s}{'REC AUC':>9s}{'sign AUC':>9s}"
        yield f"    {'':18s}{'RMSE':>22s}{heads}"
        for model, lines in table.groupby("model", sort=False):
            one = lines.set_index("metric")
            value = one["value"]
            rmse = _with_interval(value["rmse"], one["lower"]["rmse"], one["upper"]["rmse"])
            rest = f"{value['r2']:7.2f}{value['mae']:7.3f}{value['bias']:+8.3f}{value['rmse_glacier_mean']:13.3f}"
            yield f"    {model:18s}{rmse:>22s}{rest}{value['rec_auc']:9.2f}{value['sign_auc']:9.2f}"
    lines = scores[scores["metric"] == "rmse"]
    if lines["lower"].isna().any():
        few = lines.loc[lines["lower"].isna(), "scheme"].unique()
        yield f"  no interval in {', '.join(few)}: fewer than 8 glaciers or years to resample"


def _with_interval(value: float, lower: float, upper: float) -> str:
    return f"{value:.3f}" if math.isnan(lower) else f"{value:.3f} [{lower:.3f}, {upper:.3f}]"


def verdict_lines(comparisons: pd.DataFrame) -> Iterator[str]:
    """Which model beat which, a line for every scheme."""
    if comparisons.empty:
        return
    yield "\nwhat beat what (paired; only where the interval excludes 0)"
    for scheme, group in comparisons.groupby("scheme", sort=False):
        yield f"  {scheme:16s} {what_beat_what(group)}"


def what_beat_what(comparisons: pd.DataFrame) -> str:
    """Which model beat which in one scheme; one that does not beat the rivals of all is called better than no other.

    Those that a rival itself beat are said once, and the training mean is not held against rivals.
    """
    group = comparisons[comparisons["metric"] == "rmse"]
    if len(group) and (group["verdict"] == "not judged").all():
        return "not judged: fewer than 8 glaciers or years to resample"
    won = called_better(group)
    said = [f"{m} beat {', '.join(b['baseline'].astype(str))}" for m, b in won.groupby("model", sort=False)]
    known = set(zip(won["model"].astype(str), won["baseline"].astype(str), strict=True))
    short: dict[str, list[str]] = {}
    for (_, model), rivals in unbeaten_rivals(group).items():
        left = [r for r in rivals if (r, model) not in known and model != FLOOR]
        if left:
            short.setdefault(", ".join(left), []).append(model)
    said += [f"not shown to beat {rivals}: {', '.join(models)}" for rivals, models in short.items()]
    return "; ".join(said) or "nothing established"


TRUTH_HEADS = ("logo score", "measured", "unmeasured")


def truth_lines(truth: pd.DataFrame, scores: pd.DataFrame) -> Iterator[str]:
    """Scores against a known truth beside those of leave-one-glacier-out."""
    yield "\nagainst the truth, RMSE in m w.e. / R2 / bias, beside what leave-one-glacier-out promised"
    yield f"  {'model':18s}" + "".join(f"{h:>24s}" for h in TRUTH_HEADS)
    for model, *row in truth_rows(truth, scores):
        yield f"  {model:18s}" + "".join(f"{c:>24s}" for c in row)


def truth_rows(truth: pd.DataFrame, scores: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Every model with RMSE, R2 and bias in `logo`, and against the truth on measured and unmeasured glaciers."""
    for model in dict.fromkeys(truth["model"].astype(str)):
        in_logo = (scores["scheme"] == "logo") & (scores["slice"] == "all") & (scores["model"] == model)
        row = [scores[in_logo]]
        row += [truth[(truth["model"] == model) & (truth["slice"] == s)] for s in ("measured", "unmeasured")]
        yield model, *map(_error_r2_bias, row)


def _error_r2_bias(lines: pd.DataFrame) -> str:
    values = lines.set_index("metric")["value"]
    return f"{values['rmse']:.3f} / {values['r2']:.2f} / {values['bias']:+.3f}" if len(values) else "-"


def holdout_lines(scores: pd.DataFrame) -> Iterator[str]:
    """Scores of the locked test glaciers."""
    if scores["lower"].isna().all():
        yield "  no interval: fewer than 8 groups to resample"
    for line in scores[scores["metric"] == "rmse"].to_dict("records"):
        interval = "" if math.isnan(line["lower"]) else f" [{line['lower']:.3f}, {line['upper']:.3f}]"
        yield f"  {line['model']:18s} RMSE {line['value']:.3f} m w.e.{interval}, n = {line['n']}"


def geodetic_line(scores: pd.DataFrame) -> str:
    """One line about the product beside geodetic rates."""
    one = scores[scores["slice"] == "all"].set_index("metric")
    value, count = one["value"], int(one["n"]["bias"])
    if not count:
        return "no geodetic rate to compare with"
    within = f"{value['geodetic_coverage']:.0%} within their 1-sigma" if one["n"]["geodetic_coverage"] else "no sigma"
    shared = f" (that weigh as {value['statements']:.0f})" if value["statements"] < count - 0.5 else ""
    known = scores[(scores["slice"] == LEARNT) & (scores["metric"] == "bias")]
    learnt = int(known["n"].iloc[0]) if len(known) else 0
    told = f"; {learnt} of them were learnt from and are no independent judgement" if learnt else ""
    return (
        f"product minus {count} geodetic rates{shared}, m w.e. a year: {value['regional_difference']:+.3f} by area "
        f"({value['product']:+.3f} against {value['geodetic']:+.3f}), bias {value['bias']:+.3f}, "
        f"RMSE {value['rmse']:.3f}, {within}{told}"
    )
