"""FF-FCNN: a small feed-forward fully connected network, chosen and trained inside every fold.

Every configuration is tried on the inner splits of every block of folds, then an ensemble of the chosen one is trained
in every fold. All nets of a scheme pass through one compiled function (`nets`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.learning.nested import (
    Candidate,
    Table,
    Tuned,
    default_recipes,
    design_of,
    features_of,
    in_order,
    inner_masks,
    permitted,
    prediction,
    search_record,
    selection_masks,
    split_blocks,
    table_of,
    training_record,
    training_table,
)
from glacmb_grid.learning.nets import FeedForward as Layout
from glacmb_grid.learning.nets import Nets, Problem, Shape, Trained, forward, shape_of, train
from glacmb_grid.learning.prepare import Bools, Features, Floats, Integers, Rows, choose_columns, rows_of
from glacmb_grid.learning.tabular import level_of, levels_of
from glacmb_grid.settings import FeedForward, Recipe

_MATRIX_BYTES = 400e6  # predictor matrices held at a time
_LEAST_GROUPS = 8  # fewer groups are not drawn from: a draw could miss most of them
_GAMMA = 1.0  # of the dynamic weighting
_CLIP = 4.0  # weights lie between 1/4 and 4
_NOISE_SHARE = 0.5  # of the target's spread: what uncertainty is weighed against


@dataclass(frozen=True)
class Subset:
    """One training set: what nets fit and stop on, and what their features and target are learnt on."""

    features: Features
    fit: Floats  # (sample,) weights
    stop: Floats  # (sample,) weights, or all zero
    asked: Bools  # (sample,) observations to predict
    centre: float
    scale: float
    level: Floats  # (row,) added to the prediction


@dataclass(frozen=True)
class Plan:
    """What a fit of all folds goes by."""

    table: Table
    folds: xr.Dataset
    settings: FeedForward
    recipes: Sequence[Recipe]
    candidates: Sequence[Candidate]
    seed: int
    checkpoints: Path | None


def fit_network(
    samples: xr.Dataset, folds: xr.Dataset, settings: FeedForward, seed: int, checkpoints: Path | None = None
) -> xr.Dataset:
    """Choose a configuration in every block and train an ensemble in every fold.

    Parameters
    ----------
    samples : xr.Dataset
        From `build_samples` or a user's own table.
    folds : xr.Dataset
        From `make_folds`.
    settings : FeedForward
    seed : int
    checkpoints : Path, optional
        Folder to keep the state of the training in; where it holds some, training goes on from there.

    Returns
    -------
    xr.Dataset
        `parameters` (fold, member, parameter), `loss` (fold, member, epoch, part) and `inner_loss` (fold, inner, epoch,
        part) in units of the target's variance, `best_epoch` (fold, member), `parameter_count` (fold); `choice`,
        `inner_error` (fold, candidate), `inner_prediction` (fold, sample), `selected` (fold, feature), `seen`
        (fold, sample) and the training table.

    Notes
    -----
    Loss: mean squared error of the observations, with fresh Gaussian noise on the standardised predictors in every
    epoch, plus L1 of the kernels; Adam on full batches. On the inner splits nets stop early; the ensemble is trained on
    all rows of the fold for as many epochs as the chosen configuration took there (`finish: refit`), or stops early
    itself. The rows of `score` have weight zero everywhere.
    """
    table = table_of(samples)
    recipes = permitted(table, settings, default_recipes(table, settings))
    candidates = configurations(settings, len(recipes), levels_of(folds, samples), seed)
    if checkpoints is not None:
        checkpoints.mkdir(parents=True, exist_ok=True)
    plan = Plan(table, folds, settings, recipes, candidates, seed, checkpoints)
    tuned, epochs, inner_loss = _search(plan)
    trained, kept, layers = _ensembles(plan, tuned, epochs)
    shape = (folds.sizes["fold"], settings.members)
    loss = trained.loss.reshape(*shape, -1, 2)
    record = search_record(recipes, candidates, tuned, kept, folds)
    counts = [_count(len(f.kept), candidates[c].hyper["widths"]) for f, c in zip(kept, tuned.choice, strict=True)]
    out = training_record(samples, folds).merge(record)
    out = out.assign(
        parameters=(("fold", "member", "parameter"), trained.parameters.reshape(*shape, -1)),
        loss=(("fold", "member", "epoch", "part"), loss),
        inner_loss=(("fold", "inner", "inner_epoch", "part"), inner_loss),
        best_epoch=(("fold", "member"), trained.best_epoch.reshape(shape)),
        target_centre=("fold", [layer[0] for layer in layers]),
        target_scale=("fold", [layer[1] for layer in layers]),
        parameter_count=("fold", np.array(counts)),
    ).assign_coords(part=["fit", "stop"])
    layout = {
        "predictors": trained.layout.predictors,
        "widths": trained.layout.widths,
        "outputs": trained.layout.outputs,
    }
    return out.assign_attrs({**record.attrs, "layout": json.dumps(layout), "seed": seed})


def configurations(settings: FeedForward, recipes: int, levels: Sequence[str], seed: int) -> list[Candidate]:
    """The configurations to try: all combinations, or as many of them as the settings allow, drawn at random."""
    every: list[tuple[Any, ...]] = list(
        product(
            range(recipes),
            levels,
            settings.widths,
            settings.learning_rate,
            settings.input_noise,
            settings.l1,
            settings.weighting,
            settings.heteroscedastic,
        )
    )
    if len(every) > settings.configurations:
        drawn = np.random.default_rng(seed).choice(len(every), settings.configurations, replace=False)
        every = [every[i] for i in np.sort(drawn)]
    names = ("level", "widths", "learning_rate", "input_noise", "l1", "weighting", "heteroscedastic")
    return [Candidate(r, dict(zip(names, (rest[0], list(rest[1]), *rest[2:]), strict=True))) for r, *rest in every]


def _count(predictors: int, widths: Sequence[int]) -> int:
    sizes = [predictors, *widths, 1]
    return int(sum(a * b + b for a, b in pairwise(sizes)))


# ---- the search ----


def _search(plan: Plan) -> tuple[Tuned, Integers, npt.NDArray[np.float32]]:
    """Every configuration on the inner splits of every block: what to take, for how many epochs, and the losses."""
    table, folds, settings, seed = plan.table, plan.folds, plan.settings, plan.seed
    recipes, candidates = plan.recipes, plan.candidates
    first, block = split_blocks(folds)
    leaked = folds["select"].values if "select" in folds else None
    splits = [(b, i, m) for b, f in enumerate(first) for i, m in enumerate(inner_masks(folds, int(f)))]
    kinds = list(dict.fromkeys((c.recipe, c.hyper["level"], c.hyper["weighting"]) for c in candidates))
    shape = (len(first), len(candidates), len(table.target))
    total, count = np.zeros(shape), np.zeros((len(first), len(table.target)))
    best = np.zeros((len(first), len(candidates), folds.sizes["inner"]), np.int64)
    curves = np.full((len(first), len(candidates), folds.sizes["inner"], settings.epochs, 2), np.nan, np.float32)
    common: Shape | None = None
    for number, part in enumerate(_chunks(splits, len(kinds), table)):
        subsets = {}
        for b, i, (inner_fit, inner_score) in part:
            select = inner_fit if leaked is None else leaked[first[b]]
            for kind in kinds:
                subsets[b, i, kind] = _subset(table, inner_fit, inner_score, select, recipes[kind[0]], kind[1:], seed)
        jobs = [
            (b, i, n, (c.recipe, c.hyper["level"], c.hyper["weighting"]))
            for b, i, _ in part
            for n, c in enumerate(candidates)
        ]
        nets = [(subsets[b, i, kind], candidates[n].hyper, _number(seed, b, i, n)) for b, i, n, kind in jobs]
        limit = np.full(len(nets), settings.epochs)
        trained, values, common = _train(plan, nets, limit, common, f"search-{number}")
        masks = {(b, i): m for b, i, m in part}
        for (b, i, n, _), balance, epoch, loss in zip(jobs, values, trained.best_epoch, trained.loss, strict=True):
            inner_score = masks[b, i][1]
            total[b, n, inner_score] += (table.operator @ balance)[inner_score]
            count[b, inner_score] += n == 0
            best[b, n, i] = epoch + 1
            curves[b, n, i] = loss
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count[:, None]
    error = np.sqrt(np.nanmean((mean - table.target) ** 2, axis=2))
    choice = error.argmin(axis=1)
    at = np.arange(len(first))
    epochs = np.array([max(int(np.median(row[row > 0])), 1) for row in best[at, choice]])
    predicted = _inner_ensembles(plan, splits, choice, epochs)
    return Tuned(choice[block], error[block], predicted[block]), epochs[block], curves[at, choice][block]


def _inner_ensembles(plan: Plan, splits: list[Any], choice: Integers, epochs: Integers) -> Floats:
    """What ensembles of the chosen configuration say of the inner splits, (block, sample), m w.e., NaN elsewhere.

    They are trained for the epochs that the block's splits took together, so that, unlike the nets of the search, they
    have not stopped where the scored rows of their own split liked it best.
    """
    table, settings, seed = plan.table, plan.settings, plan.seed
    leaked = plan.folds["select"].values if "select" in plan.folds else None
    first, _ = split_blocks(plan.folds)
    total = np.zeros((len(first), len(table.target)))
    count = np.zeros_like(total)
    common: Shape | None = None
    for number, part in enumerate(_chunks(splits, 1, table)):
        nets, limit = [], []
        for b, i, (inner_fit, inner_score) in part:
            candidate = plan.candidates[int(choice[b])]
            kind = (candidate.hyper["level"], candidate.hyper["weighting"])
            select = inner_fit if leaked is None else leaked[first[b]]
            none = np.zeros(len(table.target), bool)
            one = _subset(table, inner_fit, none, select, plan.recipes[candidate.recipe], kind, seed)
            one = replace(one, asked=inner_score)
            nets += [(one, candidate.hyper, _number(seed, 3, b, i, m)) for m in range(settings.members)]
            limit += [int(epochs[b])] * settings.members
        _, values, common = _train(plan, nets, np.array(limit), common, f"inner-{number}")
        balance = values.reshape(len(part), settings.members, -1).mean(axis=1)
        for (b, _, (_, inner_score)), one_balance in zip(part, balance, strict=True):
            total[b, inner_score] += (table.operator @ one_balance)[inner_score]
            count[b, inner_score] += 1
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)


def _chunks(splits: list[Any], kinds: int, table: Table) -> Iterator[list[Any]]:
    """Parts of the inner splits whose matrices fit into memory."""
    width = 3 * len(table.rows.names)
    size = 4 * len(table.rows.year) * width * kinds
    step = max(1, int(_MATRIX_BYTES / max(size, 1)))
    for start in range(0, len(splits), step):
        yield splits[start : start + step]


def _number(seed: int, *place: int) -> int:
    """A seed of its own for every net."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1)[0])


def _subset(
    table: Table,
    fit: Bools,
    stop: Bools,
    select: Bools,
    recipe: Recipe,
    kind: tuple[str, str],
    seed: int,
    drawn: Floats | None = None,
) -> Subset:
    level_kind, weighting = kind
    features = features_of(table, select, recipe, seed)
    level = np.zeros(len(table.rows.year))
    if level_kind == "glacier":
        level = level_of(table, fit, table.rows.glacier)
    target = table.target - table.operator @ level
    years = np.asarray(table.operator.sum(axis=1)).ravel()
    centre = float((years[fit] @ target[fit]) / (years[fit] @ years[fit]))
    scale = float(np.sqrt(np.mean((target[fit] - years[fit] * centre) ** 2)))
    scale = scale if scale > 1e-9 else 1.0
    weights = fit * _weighting((target - years * centre) / scale, table.uncertainty / scale, fit, weighting)
    if drawn is not None and (weights * drawn).sum() > 0:
        weights = weights * drawn
    return Subset(features, weights / weights.sum(), stop / max(stop.sum(), 1), stop, centre, scale, level)


def _weighting(target: Floats, uncertainty: Floats, fit: Bools, weighting: str) -> Floats:
    """Fixed weights of samples, (sample,); the dynamic weighting is made while training."""
    if weighting == "uncertainty":
        return np.asarray(1 / (uncertainty**2 + _NOISE_SHARE**2))
    if weighting == "density":
        seen = np.sort(target[fit])
        width = max(1.06 * len(seen) ** -0.2, 1e-3)
        inside = np.searchsorted(seen, target + width) - np.searchsorted(seen, target - width)
        rarity = 1 / np.sqrt(np.maximum(inside, 1))
        return np.asarray(np.clip(rarity / rarity[fit].mean(), 1 / _CLIP, _CLIP))
    return np.ones(len(target))


# ---- the ensembles ----


def _ensembles(plan: Plan, tuned: Tuned, epochs: Integers) -> tuple[Trained, list[Features], list[tuple[float, float]]]:
    """Members of every fold: parameters, features and the scaling of the target."""
    table, folds, settings, seed = plan.table, plan.folds, plan.settings, plan.seed
    recipes, candidates = plan.recipes, plan.candidates
    select, fit = selection_masks(folds), folds["fit"].values
    stops = folds["stop"].values if "stop" in folds else None
    splits = [list(inner_masks(folds, f)) for f in range(len(fit))]
    parts: list[Trained] = []
    kept: list[Features] = []
    layers: list[tuple[float, float]] = []
    common: Shape | None = None
    numbers = list(range(len(fit)))
    bound = len(table.rows.names) * 3
    step = max(1, int(_MATRIX_BYTES / (4 * len(table.rows.year) * bound)))
    for start in range(0, len(numbers), step):
        nets, limit = [], []
        for fold in numbers[start : start + step]:
            candidate = candidates[int(tuned.choice[fold])]
            kind = (candidate.hyper["level"], candidate.hyper["weighting"])
            first = None
            for member in range(settings.members):
                seen, stop = fit[fold], np.zeros(len(table.target), bool)
                if stops is not None:
                    stop = stops[fold]
                elif settings.finish == "early_stopping":
                    seen, stop = splits[fold][member % len(splits[fold])]
                early = bool(stop.any())
                drawn = _draw(table, fit[fold], settings, _number(seed, 2, fold, member)) if member else None
                one = _subset(table, fit[fold], stop, select[fold], recipes[candidate.recipe], kind, seed, drawn)
                if early and (one.fit * seen).sum() > 0:
                    one = replace(one, fit=one.fit * seen / (one.fit * seen).sum())
                one = one if first is None else replace(one, features=first.features)
                first = first or one
                nets.append((one, candidate.hyper, _number(seed, 1, fold, member)))
                limit.append(settings.epochs if early else int(epochs[fold]))
            assert first is not None
            kept.append(first.features)
            layers.append((first.centre, first.scale))
        trained, _, common = _train(plan, nets, np.array(limit), common, f"ensembles-{start}", predict=False)
        parts.append(trained)
    longest = max(p.loss.shape[1] for p in parts)
    losses = [np.pad(p.loss, ((0, 0), (0, longest - p.loss.shape[1]), (0, 0)), constant_values=np.nan) for p in parts]
    joined = {n: np.concatenate([getattr(p, n) for p in parts]) for n in ("parameters", "best_epoch", "epochs")}
    joined["loss"] = np.concatenate(losses)
    whole = Trained(layout=parts[0].layout, **joined)
    return whole, kept, layers


def _draw(table: Table, fit: Bools, settings: FeedForward, seed: int) -> Floats | None:
    """How often each observation's group was drawn, (sample,); None where there are too few groups to draw from."""
    names, number = np.unique(table.group[fit], return_inverse=True)
    if not settings.bootstrap or len(names) < _LEAST_GROUPS:
        return None
    rng = np.random.default_rng(seed)
    drawn = np.zeros(len(fit))
    drawn[fit] = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[number]
    return drawn


# ---- from subsets to the nets ----


def _train(
    plan: Plan,
    nets: Sequence[tuple[Subset, dict[str, Any], int]],
    epochs: Integers,
    common: Shape | None,
    name: str,
    predict: bool = True,
) -> tuple[Trained, Floats, Shape]:
    """Train nets; the balance of all rows by each, (net, row), m w.e., and the shape for the next call."""
    table, settings, recipes = plan.table, plan.settings, plan.recipes
    subsets: list[Subset] = list({id(s): s for s, _, _ in nets}.values())
    place = {id(s): i for i, s in enumerate(subsets)}
    number = np.array([place[id(s)] for s, _, _ in nets])
    designs = {id(s.features): i for i, s in reversed(list(enumerate(subsets)))}
    matrix_of = {key: n for n, key in enumerate(designs)}
    width = most_features(table.rows, recipes)
    rows = np.zeros((len(designs), len(table.rows.year), width), np.float32)
    used = np.zeros(len(designs), np.int64)
    for key, first in designs.items():
        told = np.any([(s.fit > 0) | s.asked for s in subsets if id(s.features) == key], axis=0)
        values = design_of(table, subsets[first].features, told).values
        rows[matrix_of[key], :, : values.shape[1]] = values
        used[matrix_of[key]] = max(values.shape[1], 1)
    years = np.asarray(table.operator.sum(axis=1)).ravel()
    targets = [(table.target - table.operator @ s.level - years * s.centre) / s.scale for s in subsets]
    looked = [(s.fit > 0) | (s.stop > 0) for s in subsets]
    operator = table.operator.tocoo()
    same = operator.nnz == len(years) and bool(
        (operator.row == operator.col).all() and (operator.data == 1).all() and operator.shape[0] == operator.shape[1]
    )
    problem = Problem(
        rows,
        np.array([np.where(m, t, 0.0) for t, m in zip(targets, looked, strict=True)], np.float32),
        np.array([s.fit for s in subsets], np.float32),
        np.array([s.stop for s in subsets], np.float32),
        None
        if same
        else (operator.row.astype(np.int64), operator.col.astype(np.int64), operator.data.astype(np.float32)),
    )
    matrix = np.array([matrix_of[id(subsets[n].features)] for n in number])
    depth = max(len(w) for w in settings.widths)
    widths = np.array([[*h["widths"], *[0] * (depth - len(h["widths"]))] for _, h, _ in nets], np.int64)

    def each(name: str) -> npt.NDArray[np.float32]:
        return np.array([h[name] for _, h, _ in nets], np.float32)

    many = Nets(
        matrix=matrix,
        target=number,
        split=number,
        columns=np.arange(width) < used[matrix][:, None],
        widths=widths,
        learning_rate=each("learning_rate"),
        noise=each("input_noise"),
        l1=each("l1"),
        gamma=np.array([_GAMMA * (h["weighting"] == "dynamic") for _, h, _ in nets], np.float32),
        heteroscedastic=np.array([bool(h["heteroscedastic"]) for _, h, _ in nets]),
        epochs=epochs.astype(np.int64),
        seed=np.array([n for _, _, n in nets], np.int64),
    )
    shape = _widened(shape_of(problem, many, settings.block), settings, width, common)
    checkpoint = None if plan.checkpoints is None else plan.checkpoints / name
    trained = train(problem, many, patience=settings.patience, shape=shape, checkpoint=checkpoint)
    values = np.zeros((len(nets), 0))
    if predict:
        standard = forward(trained.layout, trained.parameters, many.columns, widths, rows, matrix)[0]
        values = _balance(standard, [subsets[n] for n in number])
    return trained, values, shape


def _widened(shape: Shape, settings: FeedForward, width: int, common: Shape | None) -> Shape:
    """A shape that depends on the settings, not on what was selected: nets are bit-identical within one shape."""
    depth = max(len(w) for w in settings.widths)
    outputs = 2 if any(settings.heteroscedastic) else 1
    padded = [(*w, *[0] * (depth - len(w))) for w in settings.widths]
    layers = tuple(max(*(w[i] for w in padded), outputs) for i in range(depth))
    shape = shape._replace(layout=Layout(width, layers, outputs), dynamic="dynamic" in settings.weighting)
    if common is None:
        return shape
    return shape._replace(
        block=max(shape.block, common.block),
        fit=_larger(shape.fit, common.fit),
        stop=_larger(shape.stop, common.stop),
    )


def _larger(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2])


def most_features(rows: Rows, recipes: Sequence[Recipe]) -> int:
    """The most features that any recipe can give, a multiple of four."""
    most = 1
    for recipe in recipes:
        taken, averaged = choose_columns(rows, recipe)
        count = int(taken.sum()) + int(averaged.sum()) * ("climatology" in recipe.parts)
        count += int(taken.sum()) * ("anomaly" in recipe.parts and "value" in recipe.parts)
        count += int((taken | averaged).sum()) * (recipe.gaps == "indicator")
        most = max(most, count if recipe.keep is None else min(count, recipe.keep))
    return -(-most // 4) * 4


def _balance(standard: npt.NDArray[np.float32], subsets: Sequence[Subset]) -> Floats:
    return np.array(
        [s.centre + s.scale * v.astype(np.float64) + s.level for v, s in zip(standard, subsets, strict=True)]
    )


def predict_network(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """Balance of every member, (fold, member, row), m w.e."""
    table = training_table(parameters)
    new = in_order(rows_of(rows), table.rows.names)
    recipes = [Recipe.model_validate(r) for r in json.loads(parameters.attrs["recipes"])]
    candidates = [json.loads(str(c)) for c in parameters["candidate"].values]
    layout = json.loads(parameters.attrs["layout"])
    shape = Layout(layout["predictors"], tuple(layout["widths"]), layout["outputs"])
    seen, seed = parameters["fitted"].values, int(parameters.attrs["seed"])
    select = parameters["select"].values if "select" in parameters else seen
    members = parameters.sizes["member"]
    out = np.empty((parameters.sizes["fold"], members, len(new.year)))
    for fold in range(len(out)):
        hyper = candidates[int(parameters["choice"].values[fold])]
        values = features_of(table, select[fold], recipes[hyper["recipe"]], seed).design(new).values
        matrix = np.zeros((1, len(new.year), shape.predictors), np.float32)
        matrix[0, :, : values.shape[1]] = values
        columns = np.tile(np.arange(shape.predictors) < max(values.shape[1], 1), (members, 1))
        widths = np.tile([*hyper["widths"], *[0] * (len(shape.widths) - len(hyper["widths"]))], (members, 1))
        standard = forward(shape, parameters["parameters"].values[fold], columns, widths, matrix)[0]
        centre, scale = (float(parameters[n].values[fold]) for n in ("target_centre", "target_scale"))
        level = level_of(table, seen[fold], new.glacier) if hyper["level"] == "glacier" else 0.0
        out[fold] = centre + scale * standard.astype(np.float64) + level
    return prediction(out, parameters)
