"""The README's example runs as it stands, and its tables name what is really written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import glacmb_grid as gg
from glacmb_grid.settings import FeedForward

ROOT = Path(__file__).parents[1]


def example(number=0):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number]


@pytest.mark.real
@pytest.mark.filterwarnings("ignore:.*repaired invalid rings:UserWarning")
def test_the_example_runs_on_real_files(real_data, tmp_path, monkeypatch, capsys):
    region = real_data / "oetztal"
    links = {
        "t2m.nc": region / "sel_era5_land_monthly_t2m_1981-2018.nc",
        "tp.nc": region / "sel_era5_land_monthly_prcp_1981-2018.nc",
        "invariant.nc": region / "sel_era5_land_invariant.nc",
        "srtm.tif": region / "srtm_oetztal.tif",
        "wgms_annual_mass_balance.csv": real_data / "observations" / "wgms_annual_mass_balance.csv",
        "rgi60_links.csv": real_data / "observations" / "rgi60_links.csv",
    }
    links |= {f"rgi_oetztal{e}": region / f"rgi_oetztal{e}" for e in (".shp", ".shx", ".dbf", ".prj", ".cpg")}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(compile(example(), "README.md", "exec"), found)
    assert found["upscaled"]["mean"].shape == (19, 37)
    assert np.isfinite(found["upscaled"]["mean"]).all()
    assert "rmse" in capsys.readouterr().out


def test_the_example_of_a_trained_net_runs(toys, monkeypatch):
    samples = toys.known(glaciers=4, years=6)
    quick = FeedForward(widths=[(4,)], members=1, epochs=20, configurations=1)
    fit = gg.fit
    monkeypatch.setattr(gg, "fit", lambda *args: fit(*args, quick))
    found = {"gg": gg, "samples": samples, "folds": gg.make_folds(samples, "logo")}
    exec(compile(example(1), "README.md", "exec"), found)
    assert found["module"].widths == (4,)
    assert found["standardised"].shape == (1, 1)


def test_every_public_name_exists_and_is_documented():
    for name in gg.__all__:
        value = getattr(gg, name)
        assert name == "__version__" or value.__doc__, name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="glacmb_grid"):
        gg.nothing_of_this_name  # noqa: B018
