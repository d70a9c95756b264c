"""Names of layers and products: which of them are albedo, which tell its quality, which are neither."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.albedo.contract import Piece

SNOW = "Snow_Albedo_Daily_Tile"
DEFAULT_BRDF = "Albedo_BSA_shortwave"
_SNOW_QUALITY, _BRDF_QUALITY = "NDSI_Snow_Cover_Basic_QA", "BRDF_Albedo_Band_Mandatory_Quality_"

# The first that is found in a text decides.
_PATTERNS = (
    (re.compile(r"Mandatory_Quality_(\w+?)(?=_doy|_aid|_\d{4}|\b|$)", re.I), lambda m: _BRDF_QUALITY + m[1]),
    (re.compile(r"(?:NDSI_Snow_Cover_)?Basic_QA", re.I), lambda _: _SNOW_QUALITY),
    (re.compile(r"(?:NDSI_Snow_Cover_)?Algorithm_Flags(?:_QA)?", re.I), lambda _: "NDSI_Snow_Cover_Algorithm_Flags_QA"),
    (re.compile(r"Snow_?Albedo(?:_Daily_Tile)?", re.I), lambda _: SNOW),
    (
        re.compile(r"Albedo_([BW]SA)_(shortwave|vis|nir|Band\d)", re.I),
        lambda m: f"Albedo_{m[1].upper()}_{m[2].lower().replace('band', 'Band')}",
    ),
    (re.compile(r"NDSI(?:_Snow_Cover)?|Fractional_Snow_Cover|Snow_Cover_Daily_Tile", re.I), lambda m: m[0]),
    (re.compile(r"Maximum_Snow_Extent|Eight_Day_Snow_Cover|Snow_Spatial_QA", re.I), lambda m: m[0]),
    (re.compile(r"Nadir_Reflectance_\w+?(?=_doy|\b|$)|orbit_pnt|granule_pnt|CGF_NDSI\w*", re.I), lambda m: m[0]),
)
_PRODUCT = re.compile(r"(M[OYC]D|VNP|VJ[12])(\d\d[A-Z]\w?\d|\d\d[A-Z]\d)", re.I)
_SNOW_PRODUCTS = ("MOD10A1", "MYD10A1")
_WITHOUT = {"10A1": "snow cover only, no albedo"}
_OTHER_SENSOR = ("VNP", "VJ1", "VJ2")


def layer_of(text: str) -> str:
    """The layer that a text names, as its product spells it; empty if none."""
    for pattern, name in _PATTERNS:
        if found := pattern.search(text):
            return str(name(found))
    return ""


def product_of(text: str) -> str:
    """The product that a text names, such as MOD10A1; empty if none."""
    found = _PRODUCT.search(text)
    return found[0].upper() if found else ""


def is_snow(layer: str) -> bool:
    """Whether values are percent with codes, as those of MOD10A1 are; so is what no name tells."""
    return layer in (SNOW, "")


def is_albedo(layer: str) -> bool:
    """Whether a layer holds albedo, or nothing tells what it holds."""
    return is_snow(layer) or layer.startswith(("Albedo_BSA", "Albedo_WSA"))


def quality_of(layer: str) -> str:
    """The layer with the quality of an albedo layer."""
    return _SNOW_QUALITY if is_snow(layer) else _BRDF_QUALITY + layer.split("_")[-1]


@dataclass(frozen=True)
class Chosen:
    """Pieces of the layer to be read, and of its quality."""

    layer: str
    albedo: list[Piece]
    quality: list[Piece]


def choose(pieces: Sequence[Piece], wanted: str | None) -> Chosen:
    """The pieces of one albedo layer and of its quality.

    Parameters
    ----------
    pieces : sequence of Piece
    wanted : str, optional
        Name of the layer; default that of the product, of MCD43A3 the black-sky albedo of the whole shortwave.

    Raises
    ------
    InputError
        Files without an albedo, such as snow cover; several albedo layers to choose among.
    """
    _refuse_viirs_snow(pieces)
    by_layer: dict[str, list[Piece]] = {}
    for one in pieces:
        by_layer.setdefault(one.layer, []).append(one)
    named = [n for n in by_layer if n and is_albedo(n)]
    if not named and "" not in by_layer:
        raise InputError(
            f"{pieces[0].file}",
            expected=f"a layer of albedo: {SNOW} (MOD10A1, MYD10A1) or Albedo_BSA_shortwave (MCD43A3)",
            found=f"{listing(sorted(by_layer))}, which is no albedo",
            remedy=f"order the layer {SNOW}, and name its files only",
        )
    usual = [n for n in (SNOW, DEFAULT_BRDF) if n in named]
    layer = wanted or (usual[0] if len(usual) == 1 else named[0] if len(named) == 1 else "")
    if (len(named) > 1 and not layer) or (wanted and wanted not in named and (named or not is_snow(wanted))):
        raise InputError(
            f"{pieces[0].file}",
            expected="one layer of albedo" + (f", {wanted}" if wanted else ""),
            found=listing(named, 12) or "files whose names tell no layer",
            remedy=f"choose with `albedo: {{layer: {(usual or named or [SNOW])[0]}}}`, or narrow `albedo.files`",
        )
    _refuse_untold(by_layer.get("", ()) if is_snow(layer) else ())
    alike = [p for n in dict.fromkeys((layer, "")) if n == layer or is_snow(layer) for p in by_layer.get(n, ())]
    quality = by_layer.get(quality_of(layer), [])
    left = sorted(n for n in by_layer if n not in ("", layer, quality_of(layer)) and not _beside(by_layer[n], alike))
    if left:
        warnings.warn(f"albedo: {layer} is read; files of {listing(left)} are left out", stacklevel=2)
    return Chosen(layer, alike, quality)


def _beside(others: Sequence[Piece], taken: Sequence[Piece]) -> bool:
    """Whether other layers lie in the very files that are read, as in tiles of all layers."""
    return {p.file for p in others} <= {p.file for p in taken}


def _refuse_viirs_snow(pieces: Sequence[Piece]) -> None:
    for one in pieces:
        if one.product.startswith(_OTHER_SENSOR) and one.product[3:] in _WITHOUT:
            raise InputError(
                one.file,
                expected="a product with albedo: MOD10A1, MYD10A1, MCD43A3 or VNP43MA3",
                found=f"{one.product}, which holds {_WITHOUT[one.product[3:]]}",
                remedy="order VNP43MA3 for albedo from VIIRS, or MOD10A1 from MODIS",
            )


def _refuse_untold(unnamed: Sequence[Piece]) -> None:
    """Raise if files that name no layer name a product that is not MOD10A1 or MYD10A1."""
    for one in unnamed:
        if one.product and one.product not in _SNOW_PRODUCTS:
            raise InputError(
                one.file,
                expected=f"the layer's name in the file's name, {SNOW} or Albedo_BSA_shortwave",
                found=f"{one.product}, but no layer of albedo",
                remedy="keep the names that AppEEARS gives, or name the files of the albedo layer only",
            )
