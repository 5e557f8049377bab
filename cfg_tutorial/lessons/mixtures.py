"""Checks of the exercises of 01_mixtures: guidance and label dropout. Knows no samplers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial import diffusion, guidance
from cfg_tutorial.lessons.exercise import all_like, exercise, tensor_like
from cfg_tutorial.models import GaussianMixture


def _shift(step: float) -> Callable:
    return lambda cond, uncond, scale: guidance.guide(cond, uncond, scale + step)


@exercise(
    guidance.guide,
    {
        "The two predictions have changed places: your scale 1 is unconditional, your scale 0 "
        "conditional.": lambda cond, uncond, scale: cond + scale * (uncond - cond),
        "Wrong sign: the greater your scale, the farther you go from the conditional "
        "prediction.": lambda cond, uncond, scale: uncond - scale * (cond - uncond),
        "Off by one: your scale 0 is conditional already. That is the paper's w; here 0 means "
        "unconditional and 1 conditional.": _shift(1),
        "Off by one: your scale 1 is unconditional still. You took 1 from a scale that counts "
        "from the unconditional end.": _shift(-1),
        "Your two weights do not sum to 1: where both predictions agree, guidance must change "
        "nothing.": lambda cond, uncond, scale: scale * cond + (scale - 1) * uncond,
        "You scale the conditional prediction, not its difference from the unconditional "
        "one.": lambda cond, uncond, scale: uncond + scale * cond,
        "The scale does nothing yet.": lambda cond, uncond, scale: cond,
    },
)
def guide(answer: Any) -> Tensor:
    """Check ``fn(cond, uncond, scale) -> Tensor``, the guided prediction; scale a float."""
    cond = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    uncond = torch.tensor([[0.2, 0.7], [-1.5, 2.0]])
    found = [answer(cond.clone(), uncond.clone(), scale) for scale in (0.0, 1.0, 2.5, -0.5)]
    return all_like(found, cond)


def _in_place(label: Tensor, p_uncond: float, null_label: int) -> Tensor:
    label[torch.rand(len(label)) < p_uncond] = null_label
    return label


def _always_the_first(label: Tensor, p_uncond: float, null_label: int) -> Tensor:
    dropped = torch.arange(len(label)) < p_uncond * len(label)
    return label.masked_fill(dropped, null_label)


@exercise(
    diffusion.drop_labels,
    {
        "One coin for the whole batch: either all of it loses its labels or none of it. Each row "
        "needs its own coin.": lambda label, p, null: (
            torch.full_like(label, null) if torch.rand(()) < p else label
        ),
        "You keep a label with probability p_uncond; that is how often it should be "
        "dropped.": lambda label, p, null: diffusion.drop_labels(label, 1 - p, null),
        "Dropped rows become class 0, and class 0 has samples of its own. They should become "
        "null_label.": lambda label, p, null: diffusion.drop_labels(label, p, 0),
        "Dropped rows become -1, which no network has an embedding for. They should become "
        "null_label.": lambda label, p, null: diffusion.drop_labels(label, p, -1),
        "It is the same rows every time: they would never be seen with their label. Toss a coin "
        "for each.": _always_the_first,
        "Right numbers, but the labels that came in are changed too: the caller's batch has lost "
        "them for good.": _in_place,
        "No label is dropped yet.": lambda label, p, null: label,
        "Every label is dropped: p_uncond is not used.": lambda label, p, null: torch.full_like(
            label, null
        ),
    },
)
def drop_labels(answer: Any) -> Tensor:
    """Check ``fn(label, p_uncond, null_label) -> Tensor (n,)``: what it does over 40 batches."""
    given = torch.arange(3).repeat(1000)
    label = given.clone()
    drawn = []
    for _ in range(40):
        drawn.append(tensor_like(answer(label, 0.2, 3), given).long())
        untouched = torch.equal(label, given)
        label = given.clone()
    changed = torch.stack(drawn) != given
    share = changed.double().mean(1)
    new = torch.stack(drawn)[changed].double()
    same_rows = bool((changed == changed[0]).all())
    whole = bool(((share == 0) | (share > 0.6) & (share == share.max())).all()) and not same_rows
    return torch.tensor(
        [
            -1.0 if whole else round(share.mean().item(), 1),
            new.mean().item() if len(new) else 0.0,
            float(same_rows),
            float(untouched),
        ]
    )


def _right_guided(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    return guidance.guided(model, scale)(x, level, label)


def _always_two(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    null = torch.full_like(label, model.null_label)
    cond, uncond = model(x, level, label), model(x, level, null)
    return guidance.guide(cond, uncond, scale)


def _two_at_zero(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    return model(x, level, label) if scale == 1 else _always_two(model, x, level, label, scale)


def _two_at_one(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    if scale == 0:
        return model(x, level, torch.full_like(label, model.null_label))
    return _always_two(model, x, level, label, scale)


def _wrong_order(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    return _right_guided(model, x, level, label, 1 - scale)


def _null_is_zero(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return model(x, level, label)
    uncond = model(x, level, torch.zeros_like(label))
    return uncond if scale == 0 else guidance.guide(model(x, level, label), uncond, scale)


@exercise(
    _right_guided,
    {
        "The numbers are right, but at scales 0 and 1 you run both branches: count the rows that "
        "the network has to do there.": _always_two,
        "The numbers are right, but at scale 1 you pay for a branch that you do not "
        "use.": _two_at_one,
        "The numbers are right, but at scale 0 you pay for a branch that you do not "
        "use.": _two_at_zero,
        "The branches come in the wrong order: your scale 1 is the prediction without a "
        "label.": _wrong_order,
        "Your branch without a label asks for class 0. Each model says which label means none: "
        "model.null_label.": _null_is_zero,
        "Off by one: that is the paper's w, which is 0 where our scale is "
        "1.": lambda model, x, level, label, scale: _right_guided(
            model, x, level, label, scale + 1
        ),
        "The scale does nothing yet.": lambda model, x, level, label, scale: model(x, level, label),
    },
)
def guided(answer: Any) -> Tensor:
    """Check ``fn(model, x, level, label, scale) -> Tensor``, and the rows that the model ran."""
    laws = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    model = GaussianMixture([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]], [0.1] * 3, laws)
    x, level = torch.tensor([[0.3, 0.1], [-0.4, 1.0], [0.2, 0.6]]), torch.tensor(0.8)
    label, seen = torch.tensor([0, 1, 1]), []
    for scale in (0.0, 1.0, 3.0):
        model.rows_run = 0
        found = tensor_like(answer(model, x, level, label, scale), x).flatten()
        seen += [found, found.new_tensor([model.rows_run])]
    return torch.cat(seen)
