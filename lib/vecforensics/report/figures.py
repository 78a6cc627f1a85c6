"""The figures that the stages left behind, as far as they are what they say.

`figures/captions.json` names them: file -> {title, caption, alt, stage}, or file -> caption. A picture is taken only if its first
bytes are those of a PNG or if it is an SVG that passes the allow-list; names that lead out of the folder are ignored.
"""

from __future__ import annotations

from typing import Final

from vecforensics.report.blocks import Picture
from vecforensics.report.drawings import clean_svg
from vecforensics.report.facts import Facts, read_facts
from vecforensics.run_folder import RunFolder

__all__ = ["read_pictures"]

_MAX_BYTES: Final = 4_000_000
_MAX_PICTURES: Final = 40
_PNG: Final = b"\x89PNG\r\n\x1a\n"


def read_pictures(run: RunFolder) -> tuple[tuple[str, Picture], ...]:
    """(stage, picture) for each figure with a caption, in the order of captions.json; "" where no stage is named."""
    captions, _ = read_facts(run.figures / "captions.json")
    found = []
    for name in list(captions.values)[:_MAX_PICTURES]:
        about = captions.facts(name)
        picture = _picture(run, name, about, captions.text(name))
        if picture is not None:
            found.append((about.text("stage"), picture))
    return tuple(found)


def _picture(run: RunFolder, name: str, about: Facts, plain: str) -> Picture | None:
    path = run.figures / name
    if (
        "/" in name
        or "\\" in name
        or not path.is_file()
        or path.is_symlink()
        or path.stat().st_size > _MAX_BYTES
    ):
        return None
    data = path.read_bytes()
    # The finding is drawn over the figure as its title; whoever cannot see it hears it in `alt`.
    caption = about.text("caption", plain)
    alt = about.text("alt") or caption or name
    if data.startswith(_PNG):
        return Picture(f"figures/{name}", data, "image/png", alt, caption)
    svg = clean_svg(data)
    if svg is None:
        return None
    svg = svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return Picture(f"figures/{name}", svg.encode(), "image/svg+xml", alt, caption)
