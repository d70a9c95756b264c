"""The text of the study."""

from __future__ import annotations

import pandas as pd

from glacmb_grid.plot.studies import importance_means


def study_text(weights: pd.DataFrame, removed: pd.DataFrame, curves: pd.DataFrame) -> str:
    """What predictors, their groups and the number of glaciers are worth, in words."""
    lines = ["increase of the squared error when a group of predictors is shuffled, m2: mean over folds (spread)"]
    for (scheme, model), table in weights.groupby(["scheme", "model"], sort=False):
        means = importance_means(table)
        lines += [f"  {scheme} {model:18s} {g:28s} {m:+.4f} ({s:.4f})" for g, m, s in means.itertuples()]
        if unused := table["group"].nunique() - len(means):
            lines.append(f"  {scheme} {model:18s} {unused} groups that no fold used are left out")
    lines.append("\nablations, RMSE in m w.e.; difference to the model as it is")
    for one in removed[removed["rmse"].notna()].to_dict("records"):
        comparison = ""
        if isinstance(one.get("verdict"), str):
            comparison = f"  {one['difference']:+.3f} [{one['lower']:+.3f}, {one['upper']:+.3f}] {one['verdict']}"
        lines.append(f"  {one['scheme']} {one['model']:18s} {one['ablation']:40s} {one['rmse']:.3f}{comparison}")
    lines += [f"  note: {text}" for text in changes_nothing(removed)]
    lines.append("\nskill against the number of training groups")
    for one in curves.to_dict("records"):
        lines.append(f"  {one['scheme']} {one['model']:18s} {one['groups']:5.0f} groups  RMSE {one['rmse']:.3f}")
    return "\n".join(lines)


def changes_nothing(ablations: pd.DataFrame) -> list[str]:
    """Ablations that were not made as they change no predictor of the model, a sentence for each model."""
    empty = ablations[ablations["rmse"].isna()]
    return [
        f"{model}: not judged, since they change none of its predictors: {', '.join(dict.fromkeys(one['ablation']))}."
        for model, one in empty.groupby("model", sort=False)
    ]
