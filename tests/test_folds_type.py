"""The type of folds: what it promises of its masks, and how folds are taken, stored and shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import glacmb_grid as gg
from glacmb_grid.folds.protocols import leaky
from glacmb_grid.folds.schemes import join_folds, make_folds, redo_inner
from glacmb_grid.settings import Protocol
from glacmb_grid.stores.formats import read_zarr, write_zarr


def bits(*rows):
    """Masks as drawn: `1` for a row that is in it."""
    return np.array([[c == "1" for c in row] for row in rows])


def by_hand(**changes):
    """Three folds over five samples, the first and the last of one block, with two inner splits."""
    given = {
        "fit": bits("11100", "00111", "11100"),
        "score": bits("00010", "11000", "00001"),
        "inner_fit": np.array([bits("11000", "00100"), bits("00110", "00001"), bits("11000", "00100")]),
        "inner_score": np.array([bits("00100", "11000"), bits("00001", "00110"), bits("00100", "11000")]),
        "name": ["d", "ab", "e"],
        "scheme": ["logo"] * 3,
        "block": [7, 3, 7],
        "buffer_km": [0.0, 0.0, 2.5],
        "sample": ["a", "b", "c", "d", "e"],
    }
    return gg.Folds(**{**given, **changes})


def changed(name, place, value=True):
    array = getattr(by_hand(), name).copy()
    array[place] = value
    return {name: array}


@pytest.fixture
def samples():
    pairs = [(g, y) for g in "abcdef" for y in range(2000, 2004)]
    return xr.Dataset(
        coords={
            "sample": [f"{g}:{y}" for g, y in pairs],
            "glacier": ("sample", [g for g, _ in pairs]),
            "year": ("sample", [y for _, y in pairs]),
        }
    )


def test_features_are_learnt_on_the_fitted_rows_and_nothing_stops_unless_told():
    folds = by_hand()
    np.testing.assert_array_equal(folds.select, folds.fit)
    np.testing.assert_array_equal(folds.stop, np.zeros((3, 5), bool))
    assert not folds.selects_apart.any()
    inner = folds.inner_fit[1, 0]
    np.testing.assert_array_equal(folds.selected(1, inner), inner)
    apart = replace(folds, select=bits("11100", "11111", "11100"))
    assert apart.selects_apart.tolist() == [False, True, False]
    assert apart.selected(0, inner).tolist() == inner.tolist()
    assert apart.selected(1, inner).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fit": bits("1110", "0011", "1110")}, r"'fit' has the shape \(3, 4\), expected \(fold, sample\), \(3, 5\)"),
        ({"score": bits("00010")}, r"'score' has the shape \(1, 5\)"),
        ({"inner_score": np.zeros((3, 1, 5), bool)}, r"'inner_score' .* \(fold, inner, sample\), \(3, 2, 5\)"),
        ({"inner_fit": bits("11100", "00111", "11100")}, "'inner_fit' has the shape"),
        ({"stop": np.zeros((3, 2, 5), bool)}, "'stop' has the shape"),
        ({"block": [1, 2]}, r"'block' has the shape \(2,\), expected \(fold\), \(3,\)"),
        ({"select": np.ones((3, 5))}, "'select' holds float64, expected bool"),
        (changed("inner_fit", (1, 0, 0)), "fits on rows that its fold does not fit on: 1 of 3, first ab"),
        (changed("inner_score", (2, 0, 3)), "scores rows that its fold neither fits on nor scores: 1 of 3, first e"),
        (changed("inner_score", (1, 0, 2)), "scores some of the rows that it fits on: 1 of 3, first ab"),
        (changed("inner_score", (2, 0, 2), value=False), "one block have different inner splits: 1 of 3, first e"),
        (changed("inner_fit", (0, 1, 2), value=False), "one block have different inner splits: 1 of 3, first e"),
    ],
)  # fmt: skip
def test_masks_that_are_no_folds_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        by_hand(**change)


def test_what_a_protocol_or_a_single_row_makes_is_allowed():
    folds = by_hand()
    by_hand(**{n: np.repeat(getattr(folds, n[6:])[:, None], 2, axis=1) for n in ("inner_fit", "inner_score")},
            block=[0, 1, 2])  # fmt: skip
    alone = np.tile(bits("00100"), (3, 2, 1))
    assert by_hand(inner_fit=alone, inner_score=alone).inner == 2


def test_masks_cannot_be_written_to():
    folds = by_hand()
    for name in ("fit", "score", "inner_fit", "inner_score", "select", "stop", "block"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(folds, name)[0] = 1


def test_blocks_are_in_the_order_of_their_numbers():
    folds = by_hand()
    assert [b.tolist() for b in folds.blocks] == [[1], [0, 2]]
    assert folds.first == [1, 0]
    assert folds.by_fold(np.array([30, 70])).tolist() == [70, 30, 70]


def test_what_is_looked_at():
    folds = by_hand(inner_score=np.zeros((3, 2, 5), bool))
    np.testing.assert_array_equal(folds.tuned, bits("11100", "00111", "11100"))
    np.testing.assert_array_equal(folds.seen, folds.fit)
    told = replace(folds, select=bits("11101", "00111", "11100"), stop=bits("00000", "01000", "00000"))
    np.testing.assert_array_equal(told.seen, bits("11101", "01111", "11100"))


@pytest.mark.parametrize("which", [[2, 1], np.array([False, True, True]), (1, 2), range(1, 3)])
def test_some_folds_are_taken_with_the_numbers_of_their_blocks(which):
    folds = by_hand(stop=bits("00000", "01000", "00001"))
    place = np.arange(3)[np.asarray(which)]
    taken = folds.take(which)
    assert len(taken) == 2
    assert taken.block.tolist() == [[7, 3, 7][i] for i in place]
    assert taken.name.tolist() == [["d", "ab", "e"][i] for i in place]
    assert taken.buffer_km.tolist() == [[0, 0, 2.5][i] for i in place]
    assert taken.sample.tolist() == list("abcde")
    for name in ("fit", "score", "inner_fit", "inner_score", "select", "stop"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(folds, name)[place])


def test_the_stored_form_has_more_masks_only_where_a_protocol_leaks(samples, tmp_path):
    always = {"fit", "score", "inner_fit", "inner_score"}
    for protocol, more in (
        (Protocol(), set()),
        (Protocol(selection=True), {"select"}),
        (Protocol(tuning=True), set()),
        (Protocol(early_stopping=True), {"stop"}),
    ):
        folds = leaky(make_folds(samples, "logo", inner=2, blocks=3), protocol)
        stored = folds.to_dataset()
        assert set(stored.data_vars) == always | more
        assert set(stored.coords) == {"fold", "scheme", "block", "buffer_km", "sample"}
        write_zarr(stored, tmp_path / "folds.zarr")
        again = gg.Folds.from_dataset(read_zarr(tmp_path / "folds.zarr"))
        xr.testing.assert_identical(again.to_dataset(), stored)
        for name in ("select", "stop"):
            np.testing.assert_array_equal(getattr(again, name), getattr(folds, name))


def test_what_is_no_stored_form_is_refused():
    stored = by_hand().to_dataset()
    with pytest.raises(ValueError, match=r"(?s)folds.*'inner_fit' is missing"):
        gg.Folds.from_dataset(stored.drop_vars("inner_fit"))
    with pytest.raises(ValueError, match=r"'fit' has dimensions \(sample, fold\)"):
        gg.Folds.from_dataset(stored.transpose())


def test_folds_of_other_samples_are_not_joined(samples):
    logo = make_folds(samples, "logo", inner=2)
    for other in (make_folds(samples, "loyo", inner=3), make_folds(samples.isel(sample=slice(12)), "loyo", inner=2)):
        with pytest.raises(ValueError, match="of the same samples and number of inner splits can be joined"):
            join_folds([logo, other])


def test_what_a_protocol_leaks_is_joined_and_thinned_too(samples):
    nested = make_folds(samples, "logo", inner=2, blocks=3)
    loyo = leaky(make_folds(samples, "loyo", inner=2), Protocol(selection=True, early_stopping=True))
    joined = join_folds([nested, loyo])
    assert joined.selects_apart.tolist() == [False] * 6 + [True] * 4
    assert joined.stop.any(axis=1).tolist() == [False] * 6 + [True] * 4
    keep = ~np.isin(samples["glacier"].values, ["a", "b"])
    thin = redo_inner(nested, samples, nested.fit & keep)
    np.testing.assert_array_equal(thin.select, nested.fit & keep)
    assert redo_inner(loyo, samples, loyo.fit & keep).select.all()


def test_folds_tell_what_they_are():
    folds = by_hand(scheme=["logo", "a<b", "logo"])
    assert repr(folds) == "<Folds: 2 of logo, 1 of a<b; 2 inner splits, 2 tuning blocks, 5 samples>"
    html = folds._repr_html_()
    assert "<tr><td>logo</td><td>2</td><td>1</td><td>3</td><td>1</td></tr>" in html
    assert "<tr><td>a&lt;b</td><td>1</td><td>1</td><td>3</td><td>2</td></tr>" in html
