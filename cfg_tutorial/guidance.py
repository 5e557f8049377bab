"""Guidance: turns a model into a guided model. Knows nothing of networks, noise or data.

From the formula, ``guide``, over scales that depend on the level (``interval``, ``ramp``) to the
one packer of branches, ``combine``, and the models that call it: ``guided`` and ``composed``.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import check_filled, check_label, check_scale, require

Scale = float | Tensor | Callable[[Tensor], Any]
Branch = tuple[Any, Tensor, float | Tensor]  # model, label of each row, weight: one or one per row

# A scale this near to 0 or 1 is meant to be 0 or 1: 0.1 * 10 must not pay for two branches.
ROUNDING = 1e-6

# What a model says of itself, and the same model guided says too.
SHOWN = ("num_classes", "null_label", "p_uncond", "mask_token", "pad_token", "vocab_size")


def per_row(value: float | Tensor, like: Tensor) -> Any:
    """Return ``value`` in the type of ``like`` (n, ...), a (n,) value as (n, 1, ...)."""
    if isinstance(value, float | int):
        return value
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return value.reshape(value.shape + (1,) * (like.ndim - value.ndim)) if value.ndim else value


def level_beside(x: Tensor, level: Any) -> Tensor:
    """Return ``level`` as a tensor on x's device, of x's type; beside tokens its own, if real."""
    if x.is_floating_point():
        return torch.as_tensor(level, dtype=x.dtype, device=x.device)
    level = torch.as_tensor(level, device=x.device)
    return level if level.is_floating_point() else level.to(torch.get_default_dtype())


def guide(cond: Tensor, uncond: Tensor, scale: float | Tensor) -> Tensor:
    """Combine a conditional and an unconditional prediction: ``uncond + scale (cond - uncond)``.

    Parameters
    ----------
    cond, uncond : Tensor (n, ...), finite predictions in the same units (x0, or log-probabilities)
    scale : float or Tensor (n,), 0 unconditional, 1 conditional, above 1 guided

    Source: Ho & Salimans 2022 (arXiv 2207.12598); their w is ``scale - 1``. Written as an
    interpolation it is exact at 0 and at 1, which the sum above is not. Lesson: 01_mixtures.
    """
    return uncond.lerp(cond, per_row(scale, cond))


class Schedule:
    """A guidance scale that depends on the level, and the levels (``edges``) where it jumps."""

    def __init__(self, at: Callable[[Tensor], Tensor], edges: tuple[float, ...] = ()):
        self.at, self.edges = at, edges

    def __call__(self, level: Any) -> Tensor:
        level = torch.as_tensor(level)
        return self.at(level if level.is_floating_point() else level.double())


def interval(scale: float | Tensor, lo: float = 0.0, hi: float = math.inf) -> Schedule:
    """Return the schedule that is ``scale`` for lo < level <= hi and 1 elsewhere.

    Parameters
    ----------
    scale : float or Tensor (n,)
    lo, hi : float, in units of the level (sigma, or the masked fraction)

    Raises
    ------
    ValueError : ``scale`` is not finite and real, or not 0 <= lo < hi

    Source: Kynkaanniemi et al. 2024 (arXiv 2404.07724). Lesson: 01_mixtures.
    """
    scale = check_scale(scale, "scale", "interval")
    require(0 <= lo < hi, "interval", "lo, hi", "0 <= lo < hi", f"{lo}, {hi}")

    at = functools.partial(_in_window, scale, lo, hi)
    return Schedule(at, tuple(edge for edge in (lo, hi) if 0 < edge < math.inf))


def _in_window(scale: Tensor, lo: float, hi: float, level: Tensor) -> Tensor:
    low, high = (torch.as_tensor(edge, dtype=level.dtype) for edge in (lo, hi))
    return torch.where((low < level) & (level <= high), scale.to(level), 1.0)


def ramp(
    start: float | Tensor, end: float | Tensor, hi: float, lo: float, rho: float = 7.0
) -> Schedule:
    """Return the schedule that goes from ``start`` at level hi to ``end`` at lo, constant beyond.

    Parameters
    ----------
    start, end : float or Tensor (n,)
    hi, lo : float, levels, hi > lo >= 0
    rho : float, the ramp is linear in level^(1/rho); 7 for sigma, 1 for tokens

    Raises
    ------
    ValueError : ``start`` or ``end`` is not finite and real, not 0 <= lo < hi, or rho <= 0

    Source: after Wang et al. 2024 (arXiv 2404.13040). Lesson: 01_mixtures.
    """
    start, end = check_scale(start, "start", "ramp"), check_scale(end, "end", "ramp")
    ok, got = 0 <= lo < hi < math.inf and rho > 0, f"hi={hi}, lo={lo}, rho={rho}"
    require(ok, "ramp", "hi, lo, rho", "0 <= lo < hi < inf and rho > 0", got)
    return Schedule(functools.partial(_on_ramp, start, end, hi, lo, 1 / rho))


def _on_ramp(
    start: Tensor, end: Tensor, hi: float, lo: float, power: float, level: Tensor
) -> Tensor:
    done = ((hi**power - level**power) / (hi**power - lo**power)).clamp(0, 1)
    return start.to(level) + done * (end.to(level) - start.to(level))


def _product(first: Scale, second: Scale) -> Scale:
    """Return the scale that guides once as much as two scales do one after the other."""
    pair: list[Any] = [s if callable(s) else check_scale(s) for s in (first, second)]
    edges = {edge for scale in pair for edge in getattr(scale, "edges", ())}
    if any(callable(scale) or scale.requires_grad for scale in pair):
        return Schedule(functools.partial(_times, *pair), tuple(edges))
    return _times(pair[0], pair[1], torch.zeros(()))


def _times(first: Any, second: Any, level: Tensor) -> Tensor:
    a, b = (check_scale(one(level)) if callable(one) else one for one in (first, second))
    ok = not (a.ndim and b.ndim and len(a) != len(b))
    expected = "must have one value a row, as many as the model's own scale has, "
    require(ok, "guided", "guidance_scale", f"{expected}{a.numel()}", lambda: len(b))
    return a.to(level.device) * b.to(level.device)


def _rounded(scale: Tensor | float) -> float | Tensor:
    """Return a scale, 0-d as a number, with all within ROUNDING of 0 or 1 made just that.

    One that is learned stays as it is: rounded, it would have no gradient there.
    """
    if isinstance(scale, Tensor) and scale.requires_grad:
        return scale
    if isinstance(scale, float) or not scale.ndim:
        value = float(scale)
        near = [exact for exact in (0.0, 1.0) if abs(value - exact) < ROUNDING]
        return near[0] if near else value
    nearest = scale.round().clamp(0, 1)
    return torch.where((scale - nearest).abs() < ROUNDING, nearest, scale)


def predictions(x: Tensor, level: Tensor, branches: list[Branch]) -> list[Tensor]:
    """Return what each branch predicts, (n, ...) each: all rows of one model go through one call.

    A row whose weight in a (n,) tensor is 0 is not run; what another branch predicts for it stands
    in its place. A weight that is a number, or learned, runs all rows.

    Parameters
    ----------
    x : Tensor (n, *shape)
    level : Tensor, 0-d or (n,)
    branches : (model, label (n,) or (n, k), weight) each, the weight a number or Tensor (n,)
    """
    n, whole = len(x), not any(isinstance(weight, Tensor) for *_, weight in branches)
    rows: list[Any] = [None for _ in branches]  # all of them
    if not whole:
        every = torch.arange(n, device=x.device)
        weights = [weight for *_, weight in branches]
        rows = [w.nonzero()[:, 0] if _has_rows(w) else every for w in weights]
    order: list[int] = []
    answers: list[Tensor] = []
    for model in {id(model): model for model, *_ in branches}.values():
        own = [i for i, branch in enumerate(branches) if branch[0] is model]
        levels = _joined([_rows(level, rows[i]) for i in own]) if level.ndim else level
        labels = _joined([_rows(branches[i][1], rows[i]) for i in own])
        answers.append(model(_joined([_rows(x, rows[i]) for i in own]), levels, labels))
        order += own
    answer = _joined(answers)
    if whole:
        parts = dict(zip(order, answer.split(n), strict=True))
        return [parts[i] for i in range(len(branches))]
    place, start = torch.full((len(branches), n), -1, device=x.device), 0
    for i in order:  # where each branch's rows stand in the answer
        place[i, rows[i]] = torch.arange(start, start + len(rows[i]), device=x.device)
        start += len(rows[i])
    other = place.amax(0)
    return [answer[torch.where(at < 0, other, at)] for at in place]


def _has_rows(weight: Any) -> TypeGuard[Tensor]:
    """Return whether a weight says row by row which are run: a learned one needs its gradient."""
    return isinstance(weight, Tensor) and not weight.requires_grad


def _rows(values: Tensor, rows: Tensor | None) -> Tensor:
    return values if rows is None else values[rows]


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def combine(x: Tensor, level: Tensor, branches: list[Branch]) -> Tensor:
    """Return the sum of what the branches predict, weighted: (n, ...). See ``predictions``.

    A row of weight 0 costs no forward. Two branches whose weights sum to 1 are a ``guide``, exact
    at 0 and 1. What a branch forbids (-inf) is forbidden and never NaN, if its weight is not 0:
    a negative one does not allow it.

    Raises
    ------
    ValueError : a place with nothing allowed
    """
    used = [branch for branch in branches if _counts(branch[2])]
    if len(used) == 1 and _all_one(used[0][2]):
        model, label, _ = used[0]
        return model(x, level, label)
    each, weights = predictions(x, level, used), [weight for *_, weight in used]
    if len(used) == 2 and _all_one(weights[0] + weights[1]):
        total = guide(each[0], each[1], weights[0])
    else:
        parts = zip(weights, each, strict=True)
        total = sum((per_row(w, p) * p for w, p in parts), torch.zeros_like(each[0]))
    if math.isfinite(total.detach().sum()):  # one look, since nearly always all is finite
        return total
    parts = zip(weights, each, strict=True)
    forbids = [p.isneginf() & (torch.as_tensor(per_row(w, p)) != 0) for w, p in parts]
    forbidden = torch.stack(forbids).any(0)
    expected = "must allow something at every place"
    got = "a place where the branches together forbid everything"
    require(not forbidden.all(-1).any(), "guided", "model", expected, got)
    return total.masked_fill(forbidden, -torch.inf)


def _counts(weight: float | Tensor) -> bool:
    """Return whether any row needs a branch of this weight, or its gradient does."""
    if not isinstance(weight, Tensor):
        return weight != 0
    return weight.requires_grad or bool((weight != 0).any())


def _all_one(weight: float | Tensor) -> bool:
    if not isinstance(weight, Tensor):
        return abs(weight - 1) < ROUNDING
    return bool((weight - 1).abs().max() < ROUNDING)


class Wrapper(nn.Module):
    """A model round a model: shows the names of the one inside, and passes a run's start and steps
    on to it.

    An nn.Module, so that ``eval``, ``train``, ``to`` and ``double`` reach the model inside.
    """

    null_label: Any

    def __init__(self, model: Any, edges: set[float]):
        super().__init__()
        self.model = model
        for name in SHOWN:
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        self.edges = tuple(sorted({*getattr(model, "edges", ()), *edges}, reverse=True))
        if not isinstance(model, nn.Module):
            self.training = False

    def start(self, label: Tensor, rows: Tensor) -> None:
        tell(self.model, "start", label, rows)

    def step(self, level: Tensor) -> None:
        tell(self.model, "step", level)


def tell(model: Any, what: str, *about: Any) -> None:
    """Call the method ``what`` of a model that has it: "start" of a run, or "step"."""
    if hasattr(model, what):
        getattr(model, what)(*about)


class Scaled(Wrapper):
    """A model with a guidance scale for each label, under None that of the label it is called with.

    What is guided any way: scales are kept here, checked, and told for each row.
    """

    def __init__(self, model: Any, scales: dict[Any, Scale], name: str, where: str):
        super().__init__(
            model, {e for scale in scales.values() for e in getattr(scale, "edges", ())}
        )
        self.blamed = name, where  # in errors: the argument, and the function that took it
        for key, scale in scales.items():
            if isinstance(scale, nn.Parameter):
                self.register_parameter(f"scale of {key}".replace(".", ""), scale)
        self.scales = {
            key: scale if callable(scale) else _rounded(check_scale(scale, name, where))
            for key, scale in scales.items()
        }

    def branches(
        self, x: Tensor, level: Any, label: Tensor
    ) -> tuple[list[Branch], Tensor, Tensor, Tensor]:
        """Return each label's branch with its scale, and level, label and null label, checked."""
        check_filled(x, self.blamed[1])
        label = check_label(label, len(x), self.null_label, self.blamed[1]).to(x.device)
        level, null = level_beside(x, level), _like(self.null_label, label)
        is_null = (label == null).all(1) if label.ndim > 1 else label == null
        some_null = bool(is_null.any())
        branches: list[Branch] = []
        for key, scale in self.scales.items():
            weight = self.scale_at(scale, x, level)
            if some_null:  # a fixed point: its own label there is the null label
                weight = torch.as_tensor(weight, dtype=torch.float64, device=x.device)
                weight = weight.expand(len(x)).masked_fill(is_null, float(key is None))
            branches.append((self.model, label if key is None else _like(key, label), weight))
        return branches, level, label, null

    def scale_at(self, scale: Scale, x: Tensor, level: Tensor) -> float | Tensor:
        """Return a scale, one number or one per row of x (n, ...), rounded to 0 and 1."""
        if callable(scale):
            scale = _rounded(check_scale(scale(level), *self.blamed))
        if isinstance(scale, float):
            return scale
        scale = scale if scale.ndim else scale.expand(len(x))  # a learned number
        name, where = self.blamed
        expected = f"must have one value a row of x, {len(x)} of them"
        require(len(scale) == len(x), where, name, expected, lambda: len(scale))
        return scale.to(x.device, torch.float64)


class Guided(Scaled):
    """A model, guided by one label or several: ``guided`` and ``composed`` make it."""

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        branches, level, _, null = self.branches(x, level, label)
        rest: Any = 1.0
        for *_, weight in branches:
            rest = rest - weight
        return combine(x, level, [*branches, (self.model, null, _rounded(rest))])


def _like(one: Any, label: Tensor) -> Tensor:
    """Return one label, an int or of k parts, for every row of ``label`` (n,) or (n, k)."""
    if isinstance(one, int):
        return torch.full_like(label, one)
    return torch.as_tensor(one).to(label).expand_as(label)


def check_model(model: Any, where: str) -> None:
    expected = "must have been trained with label dropout, p_uncond > 0"
    ok = getattr(model, "p_uncond", None) != 0
    require(ok, where, "model", expected, "a model with p_uncond = 0")
    known = hasattr(model, "null_label")
    require(known, where, "model", "must have null_label, see wrap", lambda: repr(model)[:80])


def guided(model: Any, guidance_scale: Scale) -> Guided:
    """Classifier-free guidance: a model, and the same model guided is again a model.

    ``guided(guided(m, a), b)`` is ``guided(m, a * b)``, and the null label is a fixed point.

    Parameters
    ----------
    model : callable (x, level, label) -> prediction, with ``num_classes`` and ``null_label``
    guidance_scale : float, Tensor (n,) with one scale a row, or a callable of the level
        (a Tensor, 0-d or (n,)); 0 unconditional, 1 conditional (the paper's w is this minus 1)

    Returns
    -------
    callable (x, level, label) -> prediction. Rows at scale 0 or 1 cost one forward, others two.

    Raises
    ------
    ValueError : a scale that is not finite and real or not one per row; a model trained without
        label dropout (``p_uncond`` 0), which has no unconditional branch

    Source: Ho & Salimans 2022 (arXiv 2207.12598). Lesson: 01_mixtures.
    """
    check_model(model, "guided")
    if not isinstance(model, Guided):
        return Guided(model, {None: guidance_scale}, "guidance_scale", "guided")
    # One layer, so that each row keeps its own scales.
    scales = {key: _product(scale, guidance_scale) for key, scale in model.scales.items()}
    return Guided(model.model, scales, "guidance_scale", "guided")


def composed(model: Any, scales: dict[Any, Scale]) -> Guided:
    """Guidance by several labels at once: ``D(null) + sum of scale_i (D(label_i) - D(null))``.

    ``composed(m, {c: s})`` answers as ``guided(m, s)`` does to label c; a negative scale steers
    away from a label. The label that the composed model is called with is not looked at, but for
    the null label, which is a fixed point; so ``guided(composed(m, d), b)`` is composition with all
    scales times b.

    Parameters
    ----------
    model : callable (x, level, label) -> prediction, with ``num_classes`` and ``null_label``
    scales : {label: scale}, at least one; a label is an int, or a tuple where it has several parts;
        a scale is what ``guided`` takes

    Returns
    -------
    callable (x, level, label) -> prediction. A label whose scale is 0 costs nothing, and where the
    scales sum to 1 there is no unconditional forward.

    Raises
    ------
    ValueError : no labels, a label that the model does not know, a scale that is not finite, real
        and one or one per row; a model trained without label dropout

    Source: Liu et al. 2022 (arXiv 2206.01714). Lesson: 04_audio.
    """
    ok = isinstance(scales, dict) and scales
    require(ok, "composed", "scales", "{label: scale}, at least one", repr(scales))
    check_model(model, "composed")
    for label in scales:
        check_label([label], 1, model.null_label, "composed")
    return Guided(model, dict(scales), "scales", "composed")
