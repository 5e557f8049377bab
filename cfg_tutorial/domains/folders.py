"""Files of one's own read into arrays: pictures, lines of text, npz. Knows no models."""

from pathlib import Path
from typing import Any

import numpy as np

from cfg_tutorial.arguments import require
from cfg_tutorial.domains.arrays import Arrays, from_arrays
from cfg_tutorial.domains.given import MOST_LENGTH, MOST_SIDE

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
TEXTS = {".txt", ".tsv"}
SOUNDS = {".wav", ".flac"}
MOST_PIXELS = 64_000_000  # of a picture before it is made smaller
SIDE = 32  # pixels that pictures of several sizes are made


def from_folder(path: str | Path, *, side: int | None = None, **how: Any) -> Arrays:
    """Return a folder of one's own as a domain: class/mode/file, or class/file.

    Without folders of modes k-means finds clusters, see ``from_arrays``. Files and folders whose
    names start with a dot are left out.

    Parameters
    ----------
    path : a folder of pictures (PNG, JPEG, ...), of which each file is a row, or of texts (.txt,
        UTF-8), of which each line is
    side : int, pictures are made side x side pixels; if not given they keep their size where all
        have one of at most 64 x 64, and are made 32 x 32 else. Grey where all are
    how : what else ``from_arrays`` takes

    Raises
    ------
    ValueError : no folder, no classes, files in one that cannot be read, or what ``from_arrays``
        cannot take; for sounds see ``Recordings``

    Lesson: 11_your_own.
    """
    folder = Path(path).expanduser()
    require(folder.is_dir(), "from_folder", "path", "a folder", repr(str(path)))
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p, folder))
    kinds = {p.suffix.lower() for p in files}
    expected = "a folder of pictures or of .txt files, in a folder for each class"
    got = f"{str(path)!r} with {sorted(kinds) or 'no files'}"
    if kinds & SOUNDS and not kinds & (PICTURES | TEXTS):
        got += ": for sounds there is ct.Recordings"
    pictures = [p for p in files if p.suffix.lower() in PICTURES]
    texts = [p for p in files if p.suffix.lower() in TEXTS]
    require(bool(pictures) != bool(texts), "from_folder", "path", expected, got)
    chosen = pictures or texts
    inside = [p.relative_to(folder).parts[:-1] for p in chosen]
    depths = sorted({len(parts) for parts in inside})
    expected = "one whose files are all in class/mode/ or all in class/"
    got = f"files {' and '.join(str(d) for d in depths)} folders deep"
    require(depths in ([1], [2]), "from_folder", "path", expected, got)
    how = {"name": folder.resolve().name, **how}
    if texts:
        rows, place = [], []
        for file, parts in zip(texts, inside, strict=True):
            lines = _lines(file)
            rows += [line.split() for line in lines]
            place += [parts] * len(lines)
        x: Any = _table(rows, "from_folder")
    else:
        x, place = _pictures(pictures, side), inside
    mode = [parts[1] for parts in place] if depths == [2] else None
    return from_arrays(x, [parts[0] for parts in place], mode, **how)


def from_lines(path: str | Path, **how: Any) -> Arrays:
    """Return a text file of one's own as a domain of tokens, which are its words.

    Parameters
    ----------
    path : a file of lines, UTF-8: class, tab, text; or class, tab, mode, tab, text. Texts are split
        at spaces, and short ones end in empty words
    how : what else ``from_arrays`` takes

    Raises
    ------
    ValueError : no file of such lines, or what ``from_arrays`` cannot take

    Lesson: 11_your_own.
    """
    file = Path(path).expanduser()
    require(file.is_file(), "from_lines", "path", "a file", repr(str(path)))
    parts = [line.split("\t") for line in _lines(file)]
    sizes = sorted({len(part) for part in parts})
    expected = "one whose lines are class, tab, text, or all of them class, tab, mode, tab, text"
    got = f"lines of {' and '.join(map(str, sizes))} parts" if sizes else "no lines"
    require(sizes in ([2], [3]), "from_lines", "path", expected, got)
    mode = [part[1] for part in parts] if sizes == [3] else None
    x = _table([part[-1].split() for part in parts], "from_lines")
    return from_arrays(x, [part[0] for part in parts], mode, **{"name": file.stem, **how})


def from_path(path: str | Path, **how: Any) -> Arrays:
    """Return the domain of a folder, a text file, or an npz file of x, label and perhaps mode.

    Raises
    ------
    ValueError : none of these, or one that cannot be read
    """
    file = Path(path).expanduser()
    if file.is_dir():
        return from_folder(file, **how)
    if file.suffix.lower() in TEXTS:
        return from_lines(file, **how)
    expected = "a folder, a .txt or .tsv file, or an .npz file of arrays x, label and perhaps mode"
    try:
        with np.load(file, allow_pickle=False) as archive:
            parts = {name: archive[name] for name in archive.files}
    except Exception as error:  # whatever numpy makes of another kind of file
        require(False, "from_path", "path", expected, f"{str(path)!r} ({error})")
        raise
    ok = {"x", "label"} <= parts.keys()
    require(ok, "from_path", "path", expected, f"{str(path)!r} of {sorted(parts)}")
    how = {"name": file.stem, **how}
    return from_arrays(parts["x"], parts["label"], parts.get("mode"), **how)


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _lines(file: Path) -> list[str]:
    """Return the lines of a text file that are not empty."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        require(False, "from_lines", "path", "text in UTF-8", f"{str(file)!r} ({error})")
        raise
    return [line for line in text.splitlines() if line.strip()]


def _table(rows: list[list[str]], where: str) -> np.ndarray:
    """Return rows of words as an array (n, length), short ones filled with empty words."""
    longest = max(map(len, rows), default=0)
    expected = f"of texts of 1 to {MOST_LENGTH} words"
    require(0 < longest <= MOST_LENGTH, where, "path", expected, f"one of {longest} words")
    return np.array([row + [""] * (longest - len(row)) for row in rows])


def _pictures(files: list[Path], side: int | None) -> np.ndarray:
    """Return pictures as an array (n, h, w) where all are grey, else (n, h, w, 3), of uint8."""
    from PIL import Image

    found, wrong = [], []
    for file in files:
        try:
            with Image.open(file) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise ValueError(f"{picture.width} x {picture.height} pixels")
                grey = picture.mode in ("1", "L", "I;16", "LA")
                found.append(picture.convert("L" if grey else "RGB"))
        except Exception as error:  # whatever the library makes of damaged bytes
            wrong.append(f"{file.name} ({error})")
    got = f"{len(wrong)} of {len(files)} files that cannot ({'; '.join(wrong[:3])})"
    require(not wrong, "from_folder", "path", "one whose pictures can be read", got)
    sizes = {picture.size for picture in found}
    if side is None and (len(sizes) > 1 or max(max(sizes)) > MOST_SIDE):
        side = SIDE
    if side is not None:
        ok = isinstance(side, int) and 4 <= side <= MOST_SIDE
        require(ok, "from_folder", "side", f"an int from 4 to {MOST_SIDE}", repr(side))
        found = [picture.resize((side, side), Image.Resampling.BOX) for picture in found]
    if any(picture.mode == "RGB" for picture in found):
        found = [picture.convert("RGB") for picture in found]
    return np.stack([np.asarray(picture) for picture in found])
