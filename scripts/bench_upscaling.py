#!/usr/bin/env python3
"""What the products of a region of 95,536 glaciers cost: time and memory of each part.

The glaciers lie along the ranges of High Mountain Asia, as in bench_scale.py. --json adds a list of
{name, value, unit}.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_scale import places

from glacmb_grid.uncertainty.correlation import cartesian_km, published_correlation
from glacmb_grid.uncertainty.draws import draw_years
from glacmb_grid.uncertainty.propagation import covariance_of_sum, cumulative_sigma

FULL, QUICK = (1000, 10_000, 95_536), (1000, 5000)
YEARS = np.arange(1950, 2025)
Line = tuple[str, float, str]


def regional_sums(counts: tuple[int, ...]) -> list[Line]:
    """One region of so many glaciers and 75 years with correlated errors, and what independence would claim."""
    lines: list[Line] = []
    for count in counts:
        rng = np.random.default_rng(0)
        position, area = places(count), rng.lognormal(-1, 1.3, count)
        loads = area[:, None] * rng.uniform(0.2, 0.6, (count, len(YEARS)))
        points = cartesian_km(position[:, 0], position[:, 1])
        start = time.perf_counter()
        covariance = covariance_of_sum(published_correlation(), loads, points, YEARS)
        lines.append((f"regional sums, {count} glaciers", time.perf_counter() - start, "s"))
        sigma = np.sqrt(covariance[0, 0]) / area.sum()
        alone = np.sqrt((loads[:, 0] ** 2).sum()) / area.sum()
        lines.append((f"annual sigma, {count} glaciers", sigma, "m"))
        lines.append((f"annual sigma if independent, {count} glaciers", alone, "m"))
        total = cumulative_sigma(covariance)[-1] / area.sum()
        lines.append((f"sigma of the sum of 75 years, {count} glaciers", total, "m"))
    return lines


def draws(counts: tuple[int, ...]) -> list[Line]:
    """100 joint draws: what has to be made once, and each year."""
    lines: list[Line] = []
    for count in counts:
        start = time.perf_counter()
        stream = draw_years(published_correlation(), places(count), YEARS[:4], 100)
        next(stream)
        first = time.perf_counter() - start
        rest = sum(1 for _ in stream)
        each = (time.perf_counter() - start - first) / rest
        lines.append((f"draws, {count} glaciers, once", first - each, "s"))
        lines.append((f"100 draws, {count} glaciers, each year", each, "s"))
    return lines


PARTS: dict[str, Callable[[tuple[int, ...]], list[Line]]] = {"regional sums": regional_sums, "draws": draws}


def main() -> None:
    """Run the parts and print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer glaciers")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--part", choices=PARTS, help="only this part")
    given = parser.parse_args()
    lines: list[Line] = []
    for name in [given.part] if given.part else PARTS:
        made = PARTS[name](QUICK if given.quick else FULL)
        made.append((f"{name}: peak memory so far", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "GB"))
        for line in made:
            print(f"{line[0]:<60} {line[1]:10.3f} {line[2]}", flush=True)
        lines += made
    if given.json:
        given.json.write_text(json.dumps([dict(zip(("name", "value", "unit"), line, strict=True)) for line in lines]))


if __name__ == "__main__":
    main()
