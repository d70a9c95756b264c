"""The text of the study."""

from __future__ import annotations

import pandas as pd


def study_text(weights: pd.DataFrame, removed: pd.DataFrame, curves: pd.DataFrame) -> str:
    """What predictors, their groups and the number of glaciers are worth, in words."""
    lines = ["increase of the squared error when a group of predictors is shuffled, m2: mean over folds (spread)"]
    for (scheme, model), table in weights.groupby(["scheme", "model"], sort=False):
        means = table.groupby("group")["increase"].agg(["mean", "std"]).sort_values("mean", ascending=False)
        lines += [f"  {scheme} {model:18s} {g:28s} {m:+.4f} ({s:.4f})" for g, m, s in means.itertuples()]
    lines.append("\nablations, RMSE in m w.e.; difference to the model as it is")
    for one in removed.to_dict("records"):
        comparison = ""
        if isinstance(one.get("verdict"), str):
            comparison = f"  {one['difference']:+.3f} [{one['lower']:+.3f}, {one['upper']:+.3f}] {one['verdict']}"
        lines.append(f"  {one['scheme']} {one['model']:18s} {one['ablation']:40s} {one['rmse']:.3f}{comparison}")
    lines.append("\nskill against the number of training groups")
    for one in curves.to_dict("records"):
        lines.append(f"  {one['scheme']} {one['model']:18s} {one['groups']:5.0f} groups  RMSE {one['rmse']:.3f}")
    return "\n".join(lines)
