"""The stages that run on request: the audit and the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.protocols import name_of
from glacmb_grid.judging.fits import Fits, record_of
from glacmb_grid.judging.folds import summary_of
from glacmb_grid.judging.plan import locked_rows
from glacmb_grid.learning.contract import Model
from glacmb_grid.learning.registry import with_bases
from glacmb_grid.progress import track
from glacmb_grid.report.audit import audit_text
from glacmb_grid.report.study import study_text
from glacmb_grid.settings import Audit, Protocol, Scores, Section, Study, Validation
from glacmb_grid.stores.work import Work
from glacmb_grid.validation.audit import gap, probe
from glacmb_grid.validation.leaks import check_seen, row_hashes
from glacmb_grid.validation.study import ablate, importance, learning_curve


def audit(
    work: Work,
    *,
    samples: xr.Dataset,
    folds: Mapping[str, Folds],
    findings: pd.DataFrame,
    fits: Fits,
    models: Mapping[str, Model],
    own: Mapping[str, Section],
    audit: Audit,
    validation: Validation,
    protocol: Protocol,
    scores: Scores,
    seed: int,
    constraints: xr.Dataset | None = None,
) -> dict[str, Any]:
    """How much better leaks make the scores look, and whether folds and fits of this configuration leak."""
    options = {"inner": validation.inner, "blocks": validation.blocks, "parts": validation.parts}
    gaps, permuted = gap(
        samples,
        with_bases(audit.compare, lambda m: own.get(m) or audit.models.of(m), audit.compare),
        audit.compare,
        scheme=audit.scheme,
        permutations=audit.permutations,
        seed=seed,
        draws=scores.bootstrap,
        level=scores.level,
        folds_options={**options, "locked": locked_rows(samples, validation, seed)},
        say=work.say,
    )
    probes, leaks = [], []
    if protocol.leaks:
        leaks.append(f"the protocol of this configuration, on purpose: {name_of(protocol)}")
    seen, hashes = [], row_hashes(samples)
    for scheme, masks in track(folds.items(), "scheme"):
        number = len(masks) // 2
        fitted = {n: m for n, m in models.items() if fits[n][scheme] is not None}
        for name in fitted:
            fit = fits[name][scheme]
            assert fit is not None
            seen.append(check_seen(masks, record_of(fit)["seen"].values, hashes).assign(model=name))
        if scheme == "random":
            continue
        fold = str(masks.name[number])
        probed = probe(samples, masks, fitted, fold=number, seed=seed, constraints=constraints)
        for name, changed in probed.items():
            probes.append({"scheme": scheme, "model": name, "fold": fold, "changed": ", ".join(changed)})
        work.say(f"{scheme}: fits checked")
    found = pd.concat([findings, *seen], ignore_index=True)
    leaking = found[(found["severity"] == "leak") & (found["scheme"] != "random")]
    leaks += summary_of(leaking)
    table = pd.DataFrame(probes, columns=["scheme", "model", "fold", "changed"])
    leaks += [
        f"{p['scheme']}: {p['model']} in fold {p['fold']} changed with what the fold withholds: {p['changed']}"
        for p in table[table["changed"] != ""].to_dict("records")
    ]
    return {
        "rows": pd.DataFrame({"sample": samples["sample"].values.astype(str), "hash": hashes}),
        "gaps": gaps,
        "permuted": permuted,
        "findings": found,
        "probes": table,
        "verdict": {"leaks": leaks},
        "text": audit_text(gaps, permuted, found, table, leaks),
    }


def study(
    work: Work,
    *,
    samples: xr.Dataset,
    folds: Mapping[str, Folds],
    fits: Fits,
    models: Sequence[Model],
    study: Study,
    scores: Scores,
    seed: int,
) -> dict[str, Any]:
    """Importance of predictors, ablations, and skill against the number of training glaciers."""
    drawn = []
    for model in models:
        for scheme, masks in folds.items():
            if (fit := fits[model.name][scheme]) is None:
                raise InputError(
                    "study: models",
                    expected="models that could be fitted",
                    found=f"{model.name}, which lacks its data, see the messages of its stage",
                    remedy="take it out of `study.models`",
                )
            table = importance(samples, masks, fit.load(), repeats=study.repeats, seed=seed)
            drawn.append(table.assign(model=model.name))
    weights = pd.concat(drawn, ignore_index=True)
    bootstrap: dict[str, Any] = {"draws": scores.bootstrap, "level": scores.level}
    removed = ablate(samples, dict(folds), list(models), seed=seed, **bootstrap, say=work.say)
    options: dict[str, Any] = {"shares": study.shares, "counts": study.counts, "seed": seed, "say": work.say}
    parts = [learning_curve(samples, masks, list(models), **options) for masks in folds.values()]
    curves = pd.concat(parts, ignore_index=True)
    text = study_text(weights, removed, curves)
    return {"importance": weights, "ablations": removed, "learning_curve": curves, "text": text}
