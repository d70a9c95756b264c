"""Locked test glaciers: chosen whole and blindly, recorded, verified, and every look logged."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from glacmb_grid.errors import InputError
from glacmb_grid.folds.holdout import choose_holdout
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.samples import with_operator
from glacmb_grid.validation.holdout import holdout_record, log_look, verify_holdout
from glacmb_grid.weights import identity


def samples_of(glacier, year, group=None, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"{g}:{y}" for g, y in zip(glacier, year, strict=True)]
    samples = xr.Dataset(
        {
            "mass_balance": ("sample", rng.normal(size=len(names))),
            "predictors": (("row", "predictor"), rng.normal(size=(len(names), 3))),
        },
        coords={
            "sample": names,
            "glacier": ("sample", np.array(glacier, dtype=object)),
            "year": ("sample", np.array(year)),
        },
    )
    if group is not None:
        samples = samples.assign_coords(group=("sample", list(group)))
    return with_operator(samples, identity(names))


def grid(glaciers, years=range(2000, 2003), group=None):
    pairs = [(g, y) for g in glaciers for y in years]
    groups = None if group is None else [group.get(g, g) for g, _ in pairs]
    return samples_of([g for g, _ in pairs], [y for _, y in pairs], groups)


def locked(samples, holdout, seed=1):
    return set(samples["glacier"].values[choose_holdout(samples, holdout, seed)])


def test_a_listed_glacier_takes_its_whole_group_with_it():
    samples = grid("abcdef", group={"b": "cell", "d": "cell"})
    assert locked(samples, ["a"]) == {"a"}
    assert locked(samples, ["b"]) == {"b", "d"}
    assert locked(samples, ["cell", "e"]) == {"b", "d", "e"}
    assert choose_holdout(samples, ["b"]).sum() == 6


def test_a_group_takes_its_whole_glaciers_with_it():
    samples = samples_of(["a", "a", "b", "b", "c"], [1, 2, 1, 2, 1], group=["x", "y", "y", "z", "w"])
    assert locked(samples, ["x"]) == {"a", "b"}  # a reaches into y, and y into b


def test_a_share_is_drawn_from_groups_by_the_seed_alone():
    samples = grid([f"g{i:02d}" for i in range(20)], group={"g01": "g00", "g03": "g02"})
    mask = choose_holdout(samples, 0.25, 3)
    assert len(locked(samples, 0.25, 3)) in (4, 5, 6)
    changed = samples.assign(mass_balance=samples["mass_balance"] * 7, predictors=samples["predictors"] + 1)
    np.testing.assert_array_equal(choose_holdout(changed, 0.25, 3), mask)
    order = np.random.default_rng(0).permutation(samples.sizes["sample"])
    np.testing.assert_array_equal(choose_holdout(samples.isel(sample=order), 0.25, 3), mask[order])
    assert len({tuple(sorted(locked(samples, 0.25, s))) for s in range(10)}) > 5
    assert len(locked(grid("abc"), 0.01)) == 1


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(2000, 2004)), min_size=2, max_size=30),
    st.floats(0.01, 0.99),
    st.integers(0, 50),
)
def test_no_glacier_or_group_stands_on_both_sides(rows, share, seed):
    glacier, group, year = (np.array(c) for c in zip(*rows, strict=True))
    samples = samples_of(glacier.astype(str), year, [f"c{g}" for g in group])
    try:
        mask = choose_holdout(samples, share, seed)
    except InputError as error:
        assert "left to learn from" in str(error)  # noqa: PT017 - the other outcome is a mask
        return
    assert 0 < mask.sum() < len(mask)
    for label in (glacier, group):
        assert not set(label[mask]) & set(label[~mask])


@pytest.mark.parametrize(
    ("holdout", "message"),
    [(["abc1"], "did you mean abc"), (["zzz"], "known are"), ([], "an empty list"), (1.5, "between 0 and 1"),
     (["abc", "def", "ghi"], "all 3 locked"), (0.99, "all 3 locked")],
)  # fmt: skip
def test_what_cannot_be_locked_is_refused(holdout, message):
    with pytest.raises(InputError, match=message):
        choose_holdout(grid(["abc", "def", "ghi"]), holdout)


@pytest.mark.parametrize(("wanted", "near"), [("807", "00807"), ("8072", "08072"), ("9", "known are")])
def test_a_number_that_lost_its_zeros_is_told_from_one_that_is_nearly_alike(wanted, near):
    with pytest.raises(InputError, match=rf"{near}[^\n]*; write an identifier of digits in quotes"):
        choose_holdout(grid(["00807", "8071", "08072"]), [wanted])


def test_a_record_holds_while_the_rows_do():
    samples = grid("abcdef")
    mask = choose_holdout(samples, ["b", "e"])
    record = json.loads(json.dumps(holdout_record(samples, mask, "digest")))
    assert record["glaciers"] == ["b", "e"]
    assert record["samples"] == ["b:2000", "b:2001", "b:2002", "e:2000", "e:2001", "e:2002"]
    assert record["configuration"] == "digest"
    assert "mass_balance" not in json.dumps(record)
    verify_holdout(record, samples, mask)
    order = np.random.default_rng(0).permutation(18)
    moved = with_operator(
        samples.isel(sample=order, row=order).drop_dims("entry"), identity([str(i) for i in range(18)])
    )
    verify_holdout(record, moved, mask[order])
    others = samples.assign(mass_balance=samples["mass_balance"] + (~mask).astype(float))
    verify_holdout(record, others, mask)  # what is learnt from may change


def test_changed_rows_are_told():
    samples = grid("abcdef")
    mask = choose_holdout(samples, ["b", "e"])
    record = holdout_record(samples, mask, "digest")
    for name in ("mass_balance", "predictors"):
        values = samples[name].values.copy()
        values[4] += 0.01
        with pytest.raises(InputError, match="other balances or predictors"):
            verify_holdout(record, samples.assign({name: (samples[name].dims, values)}), mask)
    with pytest.raises(InputError, match=r"3 gone \(e:2000, e:2001, e:2002\); 3 new \(c:2000"):
        verify_holdout(record, samples, choose_holdout(samples, ["b", "c"]))


def test_every_look_after_the_first_says_that_it_is_one(tmp_path):
    samples, log = grid("abcdef"), tmp_path / "evaluation" / "holdout_log.json"
    record = holdout_record(samples, choose_holdout(samples, ["b", "e"]), "one")
    first = log_look(log, record, "one")
    assert (first["look"], first["message"]) == (1, "first look at these test glaciers")
    second = log_look(log, record, "one")
    assert second["look"] == 2
    assert "look 2" in second["message"]
    assert "0 of the earlier with another configuration" in second["message"]
    third = log_look(log, record, "two")
    assert "2 of the earlier with another configuration" in third["message"]
    # half of the same glaciers is a look at them too; others are not
    assert log_look(log, holdout_record(samples, choose_holdout(samples, ["b"]), "x"), "x")["look"] == 4
    assert log_look(log, holdout_record(samples, choose_holdout(samples, ["a"]), "x"), "x")["look"] == 1
    kept = json.loads(log.read_text())
    assert [e["look"] for e in kept] == [1, 2, 3, 4, 1]
    assert [e["configuration"] for e in kept] == ["one", "one", "two", "x", "x"]
    assert not list(log.parent.glob(".*"))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"look": 1}]'])
def test_a_broken_log_is_not_replaced(text, tmp_path):
    log = tmp_path / "log.json"
    log.write_text(text)
    samples = grid("ab")
    with pytest.raises(InputError, match="would pass for the first"):
        log_look(log, holdout_record(samples, choose_holdout(samples, ["a"]), ""), "")
    assert log.read_text() == text


def test_locked_rows_leave_the_folds():
    samples = grid("abcdef")
    mask = choose_holdout(samples, ["b"])
    folds = make_folds(samples, "logo", locked=mask)
    assert folds.name.tolist() == list("acdef")
    assert not any(m[..., mask].any() for m in (folds.score, folds.seen))
