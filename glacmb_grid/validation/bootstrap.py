"""Block bootstrap of scores.

Resampling blocks only changes the weights of rows. Rows whose blocks are always drawn together are summed first, and
draws are computed in batches, so that large tables need little memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.schemas import require_columns
from glacmb_grid.validation.metrics import METRICS, OF_MEANS, Statistics, mean_of_glaciers, sign_auc

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LEAST_BLOCKS = 8
"""With fewer groups (or years, regions) there is no interval."""
_PIECE = 4_000_000  # weights in memory at a time


class Blocks:
    """Blocks of rows and their draws; rows in the same blocks form a cell and always have the same weight."""

    def __init__(self, labels: Sequence[Codes], draws: int, seed: int) -> None:
        self.sizes = [int(label.max(initial=-1)) + 1 for label in labels]
        numbers = np.ravel_multi_index(tuple(labels), self.sizes)
        cells, self.cell = np.unique(numbers, return_inverse=True)
        self.of_cell = np.unravel_index(cells, self.sizes)  # block numbers of every cell
        self.draws, self.seed = draws, seed

    def pieces(self, width: int) -> Iterator[Floats]:
        """Weights of cells, (draw, cell), in batches small enough for weights of `width` columns.

        Draws without any row are left out.
        """
        streams = [np.random.default_rng([self.seed, self.draws, axis]) for axis in range(len(self.sizes))]
        step = max(1, _PIECE // max(width, *self.sizes))
        for start in range(0, self.draws, step):
            weight = np.ones((min(step, self.draws - start), len(self.of_cell[0])))
            for rng, size, number in zip(streams, self.sizes, self.of_cell, strict=True):
                counts = rng.multinomial(size, np.full(size, 1 / size), size=len(weight))
                weight *= counts[:, number]
            yield weight[weight.any(axis=1)]


def _columns_of_blocks(table: pd.DataFrame, scheme: str) -> list[str]:
    """What is drawn: years for `loyo`, groups and years for `both_out`, regions if there are enough, else groups."""
    if scheme == "loyo":
        return ["year"]
    if scheme == "both_out":
        return ["group", "year"]
    return ["region"] if scheme == "leave_region_out" and table["region"].nunique() >= LEAST_BLOCKS else ["group"]


def blocks_of(table: pd.DataFrame, scheme: str, draws: int, seed: int) -> Blocks | None:
    """Blocks of a table `with_groups`; None below LEAST_BLOCKS blocks."""
    labels = [pd.factorize(table[c], sort=True)[0].astype(np.int64) for c in _columns_of_blocks(table, scheme)]
    if any(label.max(initial=-1) + 1 < LEAST_BLOCKS for label in labels):
        return None
    return Blocks(labels, draws, seed)


def block_weights(table: pd.DataFrame, scheme: str, draws: int, seed: int) -> Floats | None:
    """Row weights of a block bootstrap, (draw, row); None below LEAST_BLOCKS blocks.

    Drawn are years for `loyo`; groups and years, independently, for `both_out` (the weight of a row is the product of
    the two counts); regions for `leave_region_out` if there are at least LEAST_BLOCKS; groups for all other schemes,
    so that `blocks` and `random` compare with `logo`.
    """
    blocks = blocks_of(with_groups(table), scheme, draws, seed)
    return None if blocks is None else np.concatenate([w[:, blocks.cell] for w in blocks.pieces(len(table))])


_NEEDED = ("scheme", "protocol", "model", "sample", "glacier", "year", "observed", "predicted")


def with_groups(table: pd.DataFrame) -> pd.DataFrame:
    """Fill in `group` (the glacier if absent or blank) and `region`.

    Raises
    ------
    InputError
        A table without the columns of `out_of_fold`.
    """
    require_columns(table, _NEEDED, name="predictions", source="`out_of_fold`")
    group = table["group"].astype(str) if "group" in table else table["glacier"].astype(str)
    group = group.where(~group.isin(["", "nan"]), table["glacier"].astype(str))
    region = table["region"].fillna("").astype(str) if "region" in table else ""
    return table.assign(group=group, region=region)


class ScoredRows:
    """Errors and statistics of the rows of one model."""

    def __init__(self, table: pd.DataFrame, tolerance: float) -> None:
        self.observed = table["observed"].to_numpy(np.float64)
        self.error = table["predicted"].to_numpy(np.float64) - self.observed
        self.glacier = pd.factorize(table["glacier"], sort=True)[0].astype(np.float64)
        self.statistics = Statistics.of_rows(self.error, self.observed, tolerance).table

    def __len__(self) -> int:
        return len(self.error)

    def values(self, metrics: Sequence[str]) -> dict[str, float]:
        """Scores with equal weights."""
        one = np.ones((1, len(self)))
        means = Statistics.of_table(self.statistics.mean(axis=0)[None])
        simple = {m: OF_MEANS[m](means) for m in metrics if m in OF_MEANS}
        rest = [m for m in metrics if m not in OF_MEANS]
        found = simple | {m: METRICS[m](one, self.error, self.observed, self.glacier) for m in rest}
        return {m: float(found[m][0]) for m in metrics}

    def drawn(self, metrics: Sequence[str], blocks: Blocks | None) -> dict[str, Floats]:
        """Scores of every draw, (draw,); a single NaN without blocks."""
        if blocks is None:
            return {name: np.full(1, np.nan) for name in metrics}
        cells = len(blocks.of_cell[0])
        sums = np.stack([np.bincount(blocks.cell, s, cells) for s in self.statistics.T], axis=1)
        rows = np.bincount(blocks.cell, minlength=cells)
        both, number = np.unique(np.stack([blocks.cell, self.glacier.astype(np.int64)]), axis=1, return_inverse=True)
        count = np.bincount(number).astype(np.float64)
        squares = np.bincount(number, self.error**2).astype(np.float64)
        glacier = both[1].astype(np.float64)
        found = []
        for weight in blocks.pieces(len(self)):
            means = Statistics.of_table(weight @ sums / (weight @ rows)[:, None])
            piece = {m: OF_MEANS[m](means) for m in metrics if m in OF_MEANS}
            if "rmse_glacier_mean" in metrics:
                piece["rmse_glacier_mean"] = mean_of_glaciers(weight[:, both[0]], count, squares, glacier)
            if "sign_auc" in metrics:
                piece["sign_auc"] = sign_auc(weight[:, blocks.cell], self.error, self.observed, self.glacier)
            found.append(piece)
        return {name: np.concatenate([f[name] for f in found]) for name in metrics}


def interval_of(drawn: Floats, level: float) -> tuple[float, float]:
    """Central interval of the finite draws; NaN if there are none."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
