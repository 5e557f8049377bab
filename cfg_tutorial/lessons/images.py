"""Checks of the exercises of 02_images: counts, a step and a window. Knows no pictures."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial.lessons.exercise import all_like, exercise, number, tensor_like
from cfg_tutorial.measures import correct_counts


@exercise(
    correct_counts,
    {
        "These are the counts as they were read: nothing is corrected.": lambda read, confusion: (
            read
        ),
        "You blur them once more: the reader has already sent true modes through the table, and "
        "you want the way back.": lambda read, confusion: read @ confusion,
        "You go back through the wrong side of the table: its rows are true modes, its columns "
        "what was read.": lambda read, confusion: torch.linalg.solve(confusion, read),
        "You give back what each mode lost, and leave in what it got from the "
        "others.": lambda read, confusion: read / confusion.diagonal(),
        "You take away what each mode gave to others; that much was lost already.": lambda r, c: (
            r * c.diagonal()
        ),
        "You turned counts into shares on the way: as many samples should come out as went "
        "in.": lambda read, confusion: correct_counts(read, confusion) / read.sum(),
    },
    tolerance=0.5,
)
def correct(answer: Any) -> Tensor:
    """Check ``fn(read, confusion) -> Tensor (num_modes,)``, the true counts behind those read."""
    confusion = torch.tensor(
        [[0.9, 0.1, 0.0], [0.05, 0.8, 0.15], [0.02, 0.08, 0.9]], dtype=torch.float64
    )
    read = torch.tensor([500.0, 300.0, 200.0], dtype=torch.float64) @ confusion
    return tensor_like(answer(read, confusion), read)


@exercise(
    lambda x, x0, sigma, sigma_next: x + (sigma_next - sigma) * (x - x0) / sigma,
    {
        "Wrong sign: you walk away from the prediction, and the picture grows "
        "noisier.": lambda x, x0, sigma, sigma_next: x - (sigma_next - sigma) * (x - x0) / sigma,
        "You take the prediction for the noise. It is the clean picture: the noise is what is "
        "left when you take it from x.": lambda x, x0, sigma, sigma_next: (
            x + (sigma_next - sigma) * x0
        ),
        "You go all the way to the prediction at once: it is a blur of all pictures that fit. "
        "Take one step.": lambda x, x0, sigma, sigma_next: x0,
        "The noise x - x0 has standard deviation sigma, and the step wants noise of standard "
        "deviation 1.": lambda x, x0, sigma, sigma_next: x + (sigma_next - sigma) * (x - x0),
        "You divide by sigma_next, where you are going; the noise in x is as large as "
        "sigma.": lambda x, x0, sigma, sigma_next: x + (sigma_next - sigma) * (x - x0) / sigma_next,
        "You keep all of the noise: after the step, sigma_next of it should be "
        "left.": lambda x, x0, sigma, sigma_next: x,
    },
)
def euler_step(answer: Any) -> Tensor:
    """Check ``fn(x, x0, sigma, sigma_next) -> Tensor``: the state x one step later."""
    x = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    x0 = torch.tensor([[0.2, 0.7], [-1.5, 2.0]])
    pairs = [(2.0, 1.5), (0.7, 0.2)]
    return all_like((answer(x.clone(), x0.clone(), *p) for p in pairs), x)


def _window(inside: Callable, out: float = 1.0) -> Callable:
    return lambda level, scale, lo, hi: torch.where(
        inside(level, lo, hi), torch.full_like(level, scale), torch.full_like(level, out)
    )


@exercise(
    _window(lambda level, lo, hi: (level > lo) & (level <= hi)),
    {
        "Outside the window you fall back to scale 0, the model without a label. Where guidance "
        "is off, the model should still know the class.": _window(
            lambda level, lo, hi: (level > lo) & (level <= hi), 0.0
        ),
        "Inside out: you guide everywhere but in the window.": _window(
            lambda level, lo, hi: (level <= lo) | (level > hi)
        ),
        "Your window lacks its upper end hi and has its lower end lo. Noise falls from step to "
        "step, so a step belongs to the level it starts from.": _window(
            lambda level, lo, hi: (level >= lo) & (level < hi)
        ),
        "Your window has both ends: two windows that meet would both guide the step that starts "
        "at lo.": _window(lambda level, lo, hi: (level >= lo) & (level <= hi)),
        "Your window has neither end: no window guides the step that starts at hi.": _window(
            lambda level, lo, hi: (level > lo) & (level < hi)
        ),
        "You never stop: below lo guidance should be off again.": _window(
            lambda level, lo, hi: level <= hi
        ),
        "You start too early: above hi guidance should be off.": _window(
            lambda level, lo, hi: level > lo
        ),
        "There is no window yet: the scale is the same at all levels.": _window(
            lambda level, lo, hi: level > -1
        ),
    },
)
def interval(answer: Any) -> Tensor:
    """Check ``fn(level, scale, lo, hi) -> Tensor``, the scale at each level (n,)."""
    level = torch.tensor([40.0, 2.0, 1.5, 1.0, 0.25, 0.125, 0.0])
    return tensor_like(answer(level, 3.0, 0.25, 1.5), level)


def _ends(low: float = 0.5, high: float = 0.5) -> Callable:
    return lambda centre, width: (centre * math.exp(-low * width), centre * math.exp(high * width))


@exercise(
    _ends(),
    {
        "Your window is as wide in the level itself. Its width is meant in the level's "
        "logarithm.": lambda centre, width: (
            centre - width / 2,
            centre + width / 2,
        ),
        "Twice too wide: the whole width lies on either side of the centre.": _ends(1, 1),
        "Your centre is the window's lower end.": _ends(0, 1),
        "Your centre is the window's upper end.": _ends(1, 0),
        "The two ends have changed places: lo comes first.": _ends(-0.5, -0.5),
        "These are the logarithms of the ends. A window is given in levels.": lambda c, width: (
            math.log(c) - width / 2,
            math.log(c) + width / 2,
        ),
        "You take the width for the ratio of the ends; it is the logarithm of that "
        "ratio.": lambda centre, width: (centre / width**0.5, centre * width**0.5),
        "Wrong logarithm: the width is in the natural one, not in that to base "
        "10.": lambda centre, width: (centre / 10 ** (width / 2), centre * 10 ** (width / 2)),
    },
)
def window_ends(answer: Any) -> Tensor:
    """Check ``fn(centre, width) -> (lo, hi)``, the ends of a window as wide in log sigma."""
    return torch.stack([_two(answer(*given)) for given in [(2.0, 1.0), (10.0, 0.5), (0.3, 2.0)]])


def _two(found: Any) -> Tensor:
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise TypeError("it should return two numbers, (lo, hi)")
    return torch.stack([number(one) for one in found])


def _pick(enough: Callable, key: Callable) -> Callable:
    def place(found: list[tuple[float, float]], least: float) -> int:
        return max((i for i, pair in enumerate(found) if enough(pair[0], least)), key=key(found))

    return place


def _most(found: list[tuple[float, float]]) -> Callable:
    return lambda i: found[i][1]


_best = _pick(lambda alignment, least: alignment >= least, _most)


@exercise(
    _best,
    {
        "You take the most garments of all, aligned or not: only windows with an alignment of at "
        "least `least` are in the race.": _pick(lambda alignment, least: True, _most),
        "You take the best aligned window. Any alignment of at least `least` will do; then "
        "garments count.": _pick(
            lambda alignment, least: True, lambda found: lambda i: found[i][0]
        ),
        "You look among the windows that are not aligned enough.": _pick(
            lambda alignment, least: alignment < least, _most
        ),
        "You stop at the first window that is aligned enough; a later one may leave more.": _pick(
            lambda alignment, least: alignment >= least, lambda found: lambda i: -i
        ),
        "An alignment of exactly `least` is enough: it says at least, not more than.": _pick(
            lambda alignment, least: alignment > least, _most
        ),
        "You take the window with the fewest garments.": _pick(
            lambda alignment, least: alignment >= least, lambda found: lambda i: -found[i][1]
        ),
        "You count only the windows that are aligned enough; the place in the whole list is "
        "asked.": lambda found, least: _best([p for p in found if p[0] >= least], least),
        "This is the number of garments that the window leaves. Return the window's place in the "
        "list.": lambda found, least: found[_best(found, least)][1],
    },
)
def best_window(answer: Any) -> Tensor:
    """Check ``fn(found, least) -> int``, the place of the window with most modes among those with
    an alignment of at least ``least``; found is a list of (alignment, modes)."""
    cases = [
        ([(0.72, 5.1), (0.80, 4.0), (0.83, 3.4), (0.81, 4.2), (0.86, 2.9)], 0.8),
        ([(0.86, 2.9), (0.70, 6.0), (0.83, 3.6), (0.84, 3.3), (0.90, 3.0)], 0.83),
        ([(0.85, 4.4), (0.78, 4.1), (0.75, 3.9)], 0.8),
    ]
    return torch.stack([number(answer(list(found), least)) for found, least in cases])


def _rows(inside: Callable, outside: int = 1, within: int = 2, part: Any = (0, -1)) -> Callable:
    return lambda levels, lo, hi: torch.where(
        inside(levels[slice(*part)], lo, hi), within, outside
    ).sum()


def _in(level: Tensor, lo: float, hi: float) -> Tensor:
    return (level > lo) & (level <= hi)


@exercise(
    _rows(_in),
    {
        "You count the last level, 0, as the start of a step; it is where the last step "
        "ends.": _rows(_in, part=(None,)),
        "You ask twice at every step: outside the window one row is enough.": _rows(_in, 2, 2),
        "You ask once at every step: inside the window there are two predictions.": _rows(
            _in, 1, 1
        ),
        "You count the guided steps alone: outside the window the network is asked too.": _rows(
            _in, 0, 2
        ),
        "This is how many steps are guided, not how many rows are asked.": _rows(_in, 0, 1),
        "Inside out: you ask twice outside the window and once inside.": _rows(_in, 2, 1),
        "You look at the level that a step leads to. A step belongs to the one that it starts "
        "from.": _rows(_in, part=(1, None)),
        "Your window lacks its upper end hi and has its lower end lo.": _rows(
            lambda level, lo, hi: (level >= lo) & (level < hi)
        ),
        "Your window has both ends: the lower one, lo, is not in it.": _rows(
            lambda level, lo, hi: (level >= lo) & (level <= hi)
        ),
        "Your window has neither end: the upper one, hi, is in it.": _rows(
            lambda level, lo, hi: (level > lo) & (level < hi)
        ),
    },
)
def window_rows(answer: Any) -> Tensor:
    """Check ``fn(levels, lo, hi) -> int``, the rows of the network that a sample costs."""
    levels = torch.tensor([40.0, 8.0, 5.0, 2.0, 1.0, 0.5, 0.1, 0.0])
    windows = [(1.0, 8.0), (0.0, 0.5), (3.0, 50.0), (2.0, 4.0), (1.5, 2.0)]
    return torch.stack([number(answer(levels.clone(), *window)) for window in windows])
