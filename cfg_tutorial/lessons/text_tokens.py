"""Checks of the exercises of 03_text_tokens: forbidden words, weights, a loss. Knows no tokens."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial import guidance
from cfg_tutorial.lessons.exercise import exercise, tensor_like


def _forbidding(line: Callable) -> Callable:
    """Make of a line through log-probabilities one that keeps forbidden words forbidden."""
    return lambda cond, uncond, scale: line(cond, uncond, scale).masked_fill(
        cond.isneginf() | uncond.isneginf(), -torch.inf
    )


def _mixed(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    return uncond.exp().lerp(cond.exp(), scale)


@exercise(
    _forbidding(guidance.guide),
    {
        "Forbidden words come out as NaN or +inf: minus infinity less minus infinity is no number. "
        "Say what you want there instead.": lambda cond, uncond, scale: (
            uncond + scale * (cond - uncond)
        ),
        "Where the prediction without a class alone forbids a word, yours lets it through: as NaN, "
        "+inf or a number above all others.": lambda cond, uncond, scale: guidance.guide(
            cond, uncond, scale
        ).masked_fill(cond.isneginf(), -torch.inf),
        "Where the prediction without a class alone forbids a word, you fall back on the one with "
        "it, and the word may be drawn.": lambda cond, uncond, scale: torch.where(
            uncond.isneginf(), cond, uncond + scale * (cond - uncond)
        ),
        "NaN has become 0, and a log-probability of 0 means certain.": lambda cond, uncond, scale: (
            torch.nan_to_num(uncond + scale * (cond - uncond), neginf=-torch.inf)
        ),
        "You draw the line through probabilities. Draw it through their "
        "logarithms.": lambda cond, uncond, scale: _mixed(cond, uncond, scale).clamp(min=0).log(),
        "You draw the line through probabilities, and some fall below 0. Draw it through their "
        "logarithms.": lambda cond, uncond, scale: _mixed(cond, uncond, scale).log(),
        "The two predictions have changed places: your scale 1 is unconditional.": _forbidding(
            lambda cond, uncond, scale: guidance.guide(uncond, cond, scale)
        ),
        "Off by one: that is the paper's w, which is 0 where our scale is 1.": _forbidding(
            lambda cond, uncond, scale: guidance.guide(cond, uncond, scale + 1)
        ),
        "Nothing forbidden gets through, but the scale does nothing yet.": _forbidding(
            lambda cond, uncond, scale: cond
        ),
    },
)
def token_guide(answer: Any) -> Tensor:
    """Check ``fn(cond, uncond, scale) -> Tensor``, guided log-probabilities up to a constant."""
    law = [[0.5, 0.2, 0.0, 0.3, 0.0], [0.1, 0.6, 0.0, 0.3, 0.0]]
    cond, uncond = torch.tensor(law).log(), torch.tensor([[0.2, 0.5, 0.3, 0.0, 0.0]] * 2).log()
    seen = []
    for scale in (3.0, 1.5):
        found = answer(cond.clone(), uncond.clone(), scale)
        if isinstance(found, Tensor):  # what is no number is 99, what is forbidden -99
            found = torch.nan_to_num(found.double(), 99, 99, -99).clamp(-99, 99)
        found = tensor_like(found, cond)
        number = found.abs() < 99
        total = found.masked_fill(~number, -torch.inf).logsumexp(1, keepdim=True)
        seen.append(torch.where(number, found - total, found))
    return torch.stack(seen)


def _shares(weight: Callable) -> Callable:
    def law(row: Tensor, log_weight: Tensor) -> Tensor:
        found = torch.bincount(row, weights=weight(log_weight), minlength=4)
        return found / found.sum()

    return law


def _mean_weights(row: Tensor, log_weight: Tensor) -> Tensor:
    found = torch.bincount(row, log_weight.exp(), 4) / torch.bincount(row, minlength=4)
    return found / found.sum()


@exercise(
    _shares(torch.exp),
    {
        "All samples count alike: the weights are not used yet.": _shares(torch.ones_like),
        "You count with the logarithms of the weights.": _shares(lambda log: log),
        "Upside down: you give the samples that should count more the smaller weights.": _shares(
            lambda log: (-log).exp()
        ),
        "Your shares do not sum to 1: the weights are only known up to a factor, so divide by "
        "their sum, not by the number of samples.": lambda row, log: (
            torch.bincount(row, log.exp(), 4) / len(row)
        ),
        "These are sums of weights, not shares.": lambda row, log: torch.bincount(
            row, log.exp(), 4
        ),
        "You take each row's mean weight, and forget how often the row was drawn.": _mean_weights,
    },
)
def reweigh(answer: Any) -> Tensor:
    """Check ``fn(row, log_weight) -> Tensor (4,)``, the law that weighted samples follow."""
    row = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3, 3, 3])
    log_weight = torch.tensor([1, 3, 2, 5, 4, 1, 2, 2, 3, 1], dtype=torch.float64).log()
    return tensor_like(answer(row, log_weight), torch.zeros(4))


def _loss(share: Callable, places: Callable = lambda masked: masked) -> Callable:
    return lambda log_prob, masked: (share(masked) * -(log_prob * places(masked)).sum(1)).mean()


def _right_share(masked: Tensor) -> Tensor:
    return masked.shape[1] / masked.sum(1)


@exercise(
    _loss(_right_share),
    {
        "A row that hides few places counts little: you have left out its weight, L over the "
        "number masked.": _loss(lambda masked: 1.0),
        "You return what one masked place costs; a row has L places.": _loss(
            lambda masked: 1 / masked.sum(1)
        ),
        "You also score the places that the model can see.": _loss(_right_share, torch.ones_like),
        "You score the places that the model can see, and not those that it must guess.": _loss(
            _right_share, torch.logical_not
        ),
        "Your weight is upside down: it is the rows with few masked places that need the greater "
        "one.": _loss(lambda masked: masked.sum(1) / masked.shape[1]),
        "You count the masked places of the whole batch: each row has its own number.": _loss(
            lambda masked: masked.numel() / masked.sum()
        ),
        "Wrong sign: your loss is lowest where the right words are least likely.": _loss(
            lambda masked: -_right_share(masked)
        ),
        "You return the sum over the rows: it would grow with the batch.": _loss(
            lambda masked: len(masked) * _right_share(masked)
        ),
    },
)
def masked_loss(answer: Any) -> Tensor:
    """Check ``fn(log_prob, masked) -> Tensor ()``, the loss of rows (n, L) with masked places."""
    log_prob = -torch.tensor([[0.3, 1.2, 0.7, 2.1], [0.9, 0.4, 1.6, 0.2], [1.1, 0.8, 0.5, 1.9]])
    masked = torch.tensor([[0, 1, 0, 0], [1, 0, 1, 1], [0, 1, 1, 0]]).bool()
    found = answer(log_prob.clone(), masked.clone())
    if isinstance(found, Tensor) and found.shape == (len(masked),):
        raise ValueError("it should return one number, the mean over the rows")
    return tensor_like(found, torch.zeros(()))
