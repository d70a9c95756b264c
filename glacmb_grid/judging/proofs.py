"""The stages that run on request: the audit and the study."""

from __future__ import annotations

from typing import Any

import pandas as pd

from glacmb_grid.disk import read_csv, write_json
from glacmb_grid.folds.protocols import name_of
from glacmb_grid.judging.fits import record_of
from glacmb_grid.judging.folds import summary_of
from glacmb_grid.judging.plan import locked_rows, models_of, schemes_of, stored_folds, studied
from glacmb_grid.learning.registry import with_bases
from glacmb_grid.stages import Context
from glacmb_grid.stores.formats import read_zarr, write_table
from glacmb_grid.validation.leaks import check_seen, row_hashes


def audit(context: Context) -> None:
    """Write how much better leaks make the scores look, and whether folds and fits of this configuration leak."""
    from glacmb_grid.validation.audit import gap, probe, report

    config, section = context.config, context.config.audit
    samples = read_zarr(context.of("samples", "samples.zarr"))
    locked = locked_rows(config, samples)
    options = {"inner": config.validation.inner, "blocks": config.validation.blocks, "parts": config.validation.parts}
    own = config.own_models
    gaps, permuted = gap(
        samples,
        with_bases(section.compare, lambda m: own.get(m) or getattr(section.models, m), section.compare),
        section.compare,
        scheme=section.scheme,
        permutations=section.permutations,
        seed=config.seed,
        draws=config.scores.bootstrap,
        level=config.scores.level,
        folds_options={**options, "locked": locked},
        say=context.say,
    )
    findings, probes, leaks = read_csv(context.of("folds", "leaks.csv")), [], []
    if config.protocol.leaks:
        leaks.append(f"the protocol of this configuration, on purpose: {name_of(config.protocol)}")
    seen, hashes = [], row_hashes(samples)
    for scheme in schemes_of(config):
        folds = stored_folds(context, scheme)
        number = len(folds) // 2
        fitted = {}
        for name, model in models_of(config).items():
            path = context.of(f"learning/{name}", f"{scheme}.zarr")
            if path.exists():
                fitted[name] = model
                seen.append(check_seen(folds, record_of(path)["seen"].values, hashes).assign(model=name))
        if scheme == "random":
            continue
        fold = str(folds.name[number])
        for name, changed in probe(samples, folds, fitted, fold=number, seed=config.seed).items():
            probes.append({"scheme": scheme, "model": name, "fold": fold, "changed": ", ".join(changed)})
        context.say(f"{scheme}: fits checked")
    found = pd.concat([findings, *seen], ignore_index=True)
    leaking = found[(found["severity"] == "leak") & (found["scheme"] != "random")]
    leaks += summary_of(leaking)
    table = pd.DataFrame(probes, columns=["scheme", "model", "fold", "changed"])
    leaks += [
        f"{p['scheme']}: {p['model']} in fold {p['fold']} changed with what the fold withholds: {p['changed']}"
        for p in table[table["changed"] != ""].to_dict("records")
    ]
    rows = pd.DataFrame({"sample": samples["sample"].values.astype(str), "hash": hashes})
    write_table(rows, context.out / "rows.csv")
    write_table(gaps, context.out / "gaps.csv")
    write_table(permuted, context.out / "permuted.csv")
    write_table(found, context.out / "findings.csv")
    write_table(table, context.out / "probes.csv")
    write_json(context.out / "verdict.json", {"leaks": leaks})
    (context.out / "audit.txt").write_text(report(gaps, permuted, found, table, leaks), encoding="utf-8")


def study(context: Context) -> None:
    """Write importance of predictors, ablations, and skill against the number of training glaciers."""
    from glacmb_grid.validation.study import ablate, importance, learning_curve

    config, section = context.config, context.config.study
    models, schemes = studied(config)
    samples = read_zarr(context.of("samples", "samples.zarr"))
    folds = {s: stored_folds(context, s) for s in schemes}
    drawn = [
        importance(
            samples,
            masks,
            read_zarr(context.of(f"learning/{m.name}", f"{s}.zarr")),
            repeats=section.repeats,
            seed=config.seed,
        ).assign(model=m.name)
        for m in models
        for s, masks in folds.items()
    ]
    bootstrap: dict[str, Any] = {"draws": config.scores.bootstrap, "level": config.scores.level}
    removed = ablate(samples, folds, models, seed=config.seed, **bootstrap, say=context.say)
    options: dict[str, Any] = {"shares": section.shares, "seed": config.seed, "say": context.say}
    curves = [learning_curve(samples, masks, models, **options) for masks in folds.values()]
    weights = pd.concat(drawn, ignore_index=True)
    write_table(weights, context.out / "importance.csv")
    write_table(removed, context.out / "ablations.csv")
    write_table(pd.concat(curves, ignore_index=True), context.out / "learning_curve.csv")
    (context.out / "study.txt").write_text(_study_text(weights, removed, pd.concat(curves)), encoding="utf-8")


def _study_text(weights: pd.DataFrame, removed: pd.DataFrame, curves: pd.DataFrame) -> str:
    """The text of `study.txt`."""
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
