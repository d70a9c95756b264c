"""Every form of the temperature index on every split of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glacmb_grid.learning.degree_day_climate import Climate, climate_of, weather_of
from glacmb_grid.learning.degree_day_forms import Form
from glacmb_grid.learning.degree_days import SETTINGS, Floats, balance, filled
from glacmb_grid.learning.search import side_by_side
from glacmb_grid.learning.table import Bools, Table
from glacmb_grid.progress import track
from glacmb_grid.settings import TemperatureIndex


class Splits:
    """The parameters of forms on splits, each fitted once.

    Parameters
    ----------
    table : Table
    forcing : dict
        Of its rows, see `balance`.
    settings : TemperatureIndex
    forms : sequence of sequences of str
        Further parameters of every form; one without any is fitted on many splits at once.
    """

    def __init__(
        self,
        table: Table,
        forcing: dict[str, Floats],
        settings: TemperatureIndex,
        forms: Sequence[Sequence[str]],
    ) -> None:
        self._table, self._forcing, self._settings, self._forms = table, forcing, settings, forms
        self._fixed = {n: float(getattr(settings, n)) for n in SETTINGS}
        self._weather = weather_of(forcing, table.rows.glacier, table.rows.year, settings.lapse_rate)
        self._known: dict[tuple[int, bytes], tuple[Climate, Floats]] = {}

    def prepare(self, form: int, masks: Sequence[Bools]) -> None:
        """Fit a form to the observations of every mask."""
        masks = [m for m in {m.tobytes(): m for m in masks}.values() if (form, m.tobytes()) not in self._known]
        if not masks:
            return
        used = [self._table.used_rows(m) for m in masks]
        climates = [climate_of(self._weather, u, within_reach=self._settings.within_reach) for u in used]
        values = self._together(masks) if not self._forms[form] else self._one_by_one(form, masks, climates)
        for mask, climate, value in zip(masks, climates, values, strict=True):
            self._known[form, mask.tobytes()] = climate, value

    def fitted(self, form: int, seen: Bools) -> tuple[Climate, Floats]:
        """Climate of the glaciers of a prepared split, and the parameters fitted there, (7,)."""
        return self._known[form, seen.tobytes()]

    def simulated(self, form: int, seen: Bools, wanted: Bools) -> Floats:
        """Balance of the rows of the wanted observations by the fit on the seen ones, 0 elsewhere, (row,), m w.e."""
        climate, value = self.fitted(form, seen)
        rows = self._table.used_rows(wanted)
        out = np.zeros(len(rows))
        departure = climate.departure(self._weather.take(rows))
        out[rows] = balance({n: v[rows] for n, v in self._forcing.items()}, value, self._fixed, departure)
        return out

    def _together(self, masks: Sequence[Bools]) -> list[Floats]:
        from glacmb_grid.learning.degree_day_fit import fit_splits  # JAX is not imported before it is needed

        found = fit_splits(self._table, self._forcing, np.array(masks), self._settings)
        return [filled(value, self._fixed) for value in found]

    def _one_by_one(self, form: int, masks: Sequence[Bools], climates: Sequence[Climate]) -> list[Floats]:
        one = Form(self._forms[form], self._settings)

        def fitted(number: int) -> Floats:
            seen = masks[number]
            used = self._table.used_rows(seen)
            departure = np.zeros((len(used), 4))
            departure[used] = climates[number].departure(self._weather.take(used))
            return one.fit(self._table, self._forcing, seen, departure)

        with side_by_side() as pool:
            return list(track(pool.map(fitted, range(len(masks))), "fit", len(masks)))
