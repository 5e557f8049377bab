"""Checks of the exercises of 02_images: counts, a step and a window. Knows no pictures."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial.lessons.exercise import all_like, exercise, tensor_like
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
