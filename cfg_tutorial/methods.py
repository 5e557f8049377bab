"""Methods: each turns a model into a guided model. Know nothing of networks or data.

Sorted in order of increasing complexity; ``guided`` and ``composed`` are in ``guidance``.
``method`` makes one of a rule of one's own.
"""

import importlib
import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial.arguments import require
from cfg_tutorial.guidance import (
    Scale,
    Scaled,
    check_model,
    guided,
    interval,
    per_row,
    predictions,
)


def in_interval(model: Any, scale: Any, lo: float = 0.2, hi: float = 1.6) -> Any:
    """Guide where lo < level <= hi alone; elsewhere the model is conditional.

    Source: Kynkaanniemi et al. 2024 (arXiv 2404.07724), whose levels these nearly are.
    """
    return guided(model, interval(scale, lo=lo, hi=hi))


METHODS: dict[str, Callable[[Any, Any], Any]] = {"cfg": guided, "interval": in_interval}

GIVEN = ("x", "level")  # what else a rule gets, if it names it


class Ruled(Scaled):
    """A model guided by a rule of one's own; ``method`` makes what makes it."""

    def __init__(self, model: Any, scale: Scale, method: "Method", knobs: dict[str, Any]):
        super().__init__(model, {None: scale}, "guidance_scale", method.__name__)
        self.method, self.knobs = method, knobs
        self.takes = [name for name in GIVEN if name in method.parameters]

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        [(model, label, scale)], level, _, null = self.branches(x, level, label)
        if isinstance(scale, float) and scale in (0, 1):
            return model(x, level, label if scale else null)
        # A row at its own null label has scale 1 there, which is a fixed point.
        cond, uncond = predictions(x, level, [(model, label, scale), (model, null, 1 - scale)])
        if isinstance(scale, float) or scale.requires_grad:
            return self._ruled(cond, uncond, scale, x, level)
        rows = ((scale != 0) & (scale != 1)).nonzero()[:, 0]
        if len(rows):  # in the others, what was not run is the other prediction
            at = level[rows] if level.ndim else level
            cond = cond.clone()
            cond[rows] = self._ruled(cond[rows], uncond[rows], scale[rows], x[rows], at)
        return cond

    def _ruled(self, cond: Tensor, uncond: Tensor, scale: Any, x: Tensor, level: Tensor) -> Tensor:
        """Return what the rule makes of the predictions (n, ...) of rows, checked."""
        forbidden = cond.isneginf() | uncond.isneginf()
        if some := bool(forbidden.any()):
            cond, uncond = (part.masked_fill(forbidden, 0) for part in (cond, uncond))
        given = dict(zip(GIVEN, (x, level), strict=True))
        more = {name: given[name] for name in self.takes}
        found = self.method.rule(cond, uncond, per_row(scale, cond), **more, **self.knobs)
        ok = isinstance(found, Tensor) and found.shape == cond.shape
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        expected = f"must return a tensor of the shape of cond, {tuple(cond.shape)}"
        require(ok, self.blamed[1], "rule", expected, got)
        lost = ~torch.isfinite(found)
        ok = not bool((lost & torch.isfinite(cond) & torch.isfinite(uncond)).any())
        expected = "must return finite numbers where both predictions are"
        require(ok, self.blamed[1], "rule", expected, lambda: found[lost][0].item())
        return found.masked_fill(forbidden, -torch.inf) if some else found


class Method:
    """A method made of a rule: (model, guidance_scale, **knobs) -> model. See ``method``."""

    def __init__(self, rule: Callable[..., Tensor]):
        self.rule = rule

    @property
    def __name__(self) -> str:
        return self.rule.__name__

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.rule).parameters

    def __call__(self, model: Any, guidance_scale: Scale, **knobs: Any) -> Ruled:
        own = [one for one in [*self.parameters.values()][3:] if one.name not in GIVEN]
        known, name = [one.name for one in own], self.__name__
        strange = [knob for knob in knobs if knob not in known]
        require(not strange, name, ", ".join(strange), f"one of its knobs, {known}", "no such knob")
        lacks = [one.name for one in own if one.default is one.empty and one.name not in knobs]
        require(not lacks, name, ", ".join(lacks), "given: the rule has no default", None)
        check_model(model, name)
        return Ruled(model, guidance_scale, self, knobs)

    def __repr__(self) -> str:
        return f"method {self.__name__}(model, guidance_scale, ...) of {self.rule}"

    def __reduce__(self) -> Any:
        """Be found again by its name, which in its module is no longer the rule's."""
        home, name = self.rule.__module__, self.rule.__qualname__
        try:
            if _find(home, name) is self:
                return _find, (home, name)
        except (ImportError, AttributeError):
            pass
        return Method, (self.rule,)


def _find(home: str, name: str) -> Any:
    return operator.attrgetter(name)(importlib.import_module(home))


def method(rule: Callable[..., Tensor]) -> Method:
    """Make a method of a rule: a function of a model and a scale, which returns a guided model.

    As a decorator::

        @ct.method
        def rescaled(cond, uncond, scale, keep=0.7):
            far = uncond + scale * (cond - uncond)
            near = far * cond.flatten(1).std(1).view(-1, 1, 1, 1) / far.flatten(1).std(1).view(...)
            return keep * near + (1 - keep) * far

        x = domain.sample(rescaled(model, 3.0, keep=0.5), label=0, n=100)
        table = ct.sweep(["images"], methods={"cfg": ct.guided, "rescaled": rescaled})

    Parameters
    ----------
    rule : callable (cond, uncond, scale, **knobs) -> Tensor (n, ...), the guided prediction

        cond, uncond : Tensor (n, ...), what the model predicts with the label and without: x0, or
            log-probabilities of tokens; what either forbids (-inf) is 0 in both, and forbidden in
            the end
        scale : a number, or Tensor (n, 1, ...) with one per row
        x, level : what the model was asked about, for a rule that has parameters of these names
        knobs : what else it takes, by name

    Returns
    -------
    callable (model, guidance_scale, **knobs) -> model. The scale is what ``guided`` takes. Rows at
    scale 1 are the conditional prediction and rows at 0, or without a label, the unconditional one,
    bit for bit: they cost one forward, and the rule does not see them.

    Raises
    ------
    ValueError : a rule of fewer than three arguments; later, of a knob that it has not, and of an
        answer that is of another shape or not finite

    Lesson: 11_your_own.
    """
    require(callable(rule), "method", "rule", "a function (cond, uncond, scale)", repr(rule))
    parameters = [*inspect.signature(rule).parameters.values()]
    places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    ok = len(places) >= 3 and not {*places[:3]} & {*GIVEN}
    expected = "a function (cond, uncond, scale, ...) of three arguments or more"
    require(
        ok, "method", "rule", expected, f"{getattr(rule, '__name__', rule)}({', '.join(places)})"
    )
    return Method(rule)
