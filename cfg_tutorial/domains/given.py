"""What is given as arrays, read and checked: numbers, labels, and modes that nobody named."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cfg_tutorial.arguments import require

KINDS = ("points", "pictures", "tokens")
MOST_SIDE = 64  # pixels
MOST_WORDS, MOST_LENGTH = 1000, 128
MOST_CLUSTERED = 10_000  # rows by which k-means finds clusters
LEAST_SHARE = 0.02  # of the rows, in a cluster
RESTARTS = 4


def _array(value: Any, name: str, expected: str) -> np.ndarray:
    """Return a value as an array of numbers or strings, or say what it is."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError:
        require(False, "from_arrays", name, expected, "rows of different lengths")
        raise
    if array.dtype == object:
        kinds = sorted({type(one).__name__ for one in array.ravel()[:1000]})
        if kinds == ["str"]:
            return array.astype(str)
        require(False, "from_arrays", name, expected, f"an array of objects ({', '.join(kinds)})")
    return array


def numbered(value: Any, name: str, n: int) -> tuple[Tensor, list[str]]:
    """Return n values as numbers from 0, in sorted order, (n,) of int64, and their names.

    Raises
    ------
    ValueError : not n of them, or no ints or strings
    """
    expected = f"{n} ints or strings, one for each row of x"
    array = _array(value, name, expected)
    shape = f"an array of shape {array.shape}"
    require(array.ndim == 1 and len(array) == n, "from_arrays", name, expected, shape)
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == array.round()).all():
        array = array.astype(np.int64)
    got = f"{array.dtype}, such as {array[:1].tolist()},"
    require(array.dtype.kind in "iubUS", "from_arrays", name, expected, got)
    values, codes = np.unique(array, return_inverse=True)
    return torch.from_numpy(codes.astype(np.int64)), [str(one) for one in values]


def rows_of_numbers(
    value: Any, kind: str | None, spread: float
) -> tuple[Tensor, str, tuple[Any, Any]]:
    """Return x (n, *shape), standardised to a deviation ``spread``; its kind; what takes it back.

    Of points and pictures that is (mean, deviation), of tokens (the values, None).

    Raises
    ------
    ValueError : no rows of numbers, of one shape, finite and not all the same; pictures too large
    """
    expected = "rows of numbers, all of one shape"
    array = _array(value, "x", expected)
    words = array.dtype.kind in "US" and array.ndim == 2
    ok = (words or array.dtype.kind in "iufb") and 2 <= array.ndim <= 4 and array.size > 0
    got = f"{array.dtype} of shape {array.shape}"
    require(ok, "from_arrays", "x", f"{expected}, (n, d) to (n, c, h, w), not empty", got)
    if array.dtype.kind == "f":
        wrong = ~np.isfinite(array).reshape(len(array), -1).all(1)
        rows = np.flatnonzero(wrong)
        got = f"{len(rows)} rows with NaN or inf, {rows[:5].tolist()} ..."
        require(not len(rows), "from_arrays", "x", "finite", got)
    if kind is None:
        whole = array.ndim == 2 and array.dtype.kind in "iuUS" and array.dtype != np.uint8
        kind = "pictures" if array.ndim > 2 else ("tokens" if whole else "points")
    require(kind in KINDS, "from_arrays", "kind", f"one of {KINDS}", repr(kind))
    alike = bool((array == array[:1]).all())
    copies = f"{len(array)} copies of one row"
    require(not alike, "from_arrays", "x", "of rows that differ", copies)
    ok = (array.ndim > 2) == (kind == "pictures")
    require(ok, "from_arrays", "x", f"of the shape of {kind}", f"shape {array.shape}")
    if kind == "tokens":
        return _tokens(array)
    require(not words, "from_arrays", "x", f"numbers, of {kind}", got)
    if kind == "pictures":
        array = _channels_first(array)
    x = torch.from_numpy(np.ascontiguousarray(array)).float()
    mean, deviation = (x.mean(0), x.std(0)) if kind == "points" else (x.mean(), x.std())
    flat = int((deviation == 0).sum())
    if flat:
        said = f"{flat} of {deviation.numel()} features of x are constant, and stay so."
        warnings.warn(said, stacklevel=3)
        deviation = torch.where(deviation == 0, 1.0, deviation)
    deviation = deviation / spread
    return (x - mean) / deviation, kind, (mean.double(), deviation.double())


def _tokens(array: np.ndarray) -> tuple[Tensor, str, tuple[Any, Any]]:
    expected = "ints or strings, of tokens"
    require(array.dtype.kind in "iubUS", "from_arrays", "x", expected, array.dtype)
    values, codes = np.unique(array, return_inverse=True)
    ok = 1 < len(values) <= MOST_WORDS and array.shape[1] <= MOST_LENGTH
    expected = f"tokens of 2 to {MOST_WORDS} kinds in rows of at most {MOST_LENGTH}; numbers that "
    expected += "are no tokens are kind='points'"
    got = f"{len(values)} kinds in rows of {array.shape[1]}"
    require(ok, "from_arrays", "x", expected, got)
    x = torch.from_numpy(codes.reshape(array.shape).astype(np.int64))
    return x, "tokens", (values, None)


def _channels_first(array: np.ndarray) -> np.ndarray:
    """Return pictures as (n, c, h, w), c 1 or 3."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = np.moveaxis(array, 3, 1)
    ok = array.shape[1] in (1, 3) and max(array.shape[2:]) <= MOST_SIDE
    expected = f"pictures in grey or of 3 colours, at most {MOST_SIDE} x {MOST_SIDE}: make them "
    expected += "smaller first"
    require(ok, "from_arrays", "x", expected, f"shape {array.shape}")
    return array


def found_modes(x: Tensor, num_modes: int) -> tuple[Tensor, Tensor, str]:
    """Return clusters of x (n, d): of each row (n,), their centres, and how it was done in words.

    The number of clusters falls until none has under ``LEAST_SHARE`` of the rows. How far other
    beginnings agree is told by the adjusted Rand index: 1 for the same clusters, 0 for chance.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    some = x[order[:MOST_CLUSTERED]].numpy()
    for k in range(min(num_modes, len(x) // 10), 0, -1):
        best = KMeans(k, n_init=10, random_state=0).fit(some)
        if np.bincount(best.labels_, minlength=k).min() >= max(5, LEAST_SHARE * len(some)):
            break
    others = [KMeans(k, n_init=1, random_state=seed).fit(some) for seed in range(1, RESTARTS + 1)]
    agree = np.mean([adjusted_rand_score(best.labels_, other.labels_) for other in others])
    centres = torch.from_numpy(best.cluster_centers_).float()
    mode = torch.cat([torch.cdist(part, centres).argmin(1) for part in x.split(10_000)])
    # Clusters of all rows, of which none is empty: numbered by their size.
    size = torch.bincount(mode, minlength=k).argsort(descending=True)
    return size.argsort()[mode], centres[size], f"k-means, other starts agree {agree:.2f}"
