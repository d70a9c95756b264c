"""The text of the audit."""

from __future__ import annotations

import pandas as pd

from glacmb_grid.validation.audit import NESTED

OTHER_SETTINGS = (
    "Models are fitted with the settings of `audit.models` here, not with those of the run: nested scores differ from "
    "those of the run."
)
"""Why the scores of an audit are others than those of its run."""


def audit_text(
    gaps: pd.DataFrame, permuted: pd.DataFrame, findings: pd.DataFrame, probes: pd.DataFrame, leaks: list[str]
) -> str:
    """What leaks would have promised, what was checked, and the verdict, in words."""
    lines = ["what each leak would have promised (RMSE in m w.e.; below the nested one = promised too much)"]
    lines.append(f"  note: {OTHER_SETTINGS}")
    for model, table in gaps.groupby("model", sort=False):
        lines.append(f"  {model}")
        for one in table.to_dict("records"):
            gain = ""
            if one["leak"] != NESTED and one["lower"] != one["lower"]:
                gain = f"  promises {one['promised']:+.3f} (no interval: fewer than 8 blocks)"
            elif one["leak"] != NESTED:
                gain = f"  promises {one['promised']:+.3f} [{one['lower']:+.3f}, {one['upper']:+.3f}]"
            lines.append(f"    {one['leak']:44s} {one['rmse']:.3f}  R2 {one['r2']:+.2f}{gain}")
        if len(permuted):
            null = permuted[permuted["model"] == model].groupby("leak", sort=False)["r2"].mean()
            means = ", ".join(f"{leak} {value:+.2f}" for leak, value in null.items())
            lines.append(f"    mean R2 on permuted targets: {means}")
    lines.append("")
    lines.append(
        f"replacing what a fold withholds, in {len(probes)} fits: {int((probes['changed'] != '').sum())} changed"
    )
    notes = findings[findings["severity"] == "note"] if len(findings) else findings
    counts = notes.groupby(["scheme", "kind"])["count"].sum().reset_index() if len(notes) else notes
    lines += [f"note: {one['scheme']}: {one['kind']} ({one['count']} rows)" for one in counts.to_dict("records")]
    lines.append("")
    lines += [f"LEAKED: {text}" for text in leaks] or ["NOTHING LEAKED: no fit saw a row that it was scored on"]
    return "\n".join(lines)
