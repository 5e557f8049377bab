"""What a check under an exercise is, and the verdict that it gives. Knows no lesson.

A check runs the learner's function on a few cases and compares what it does with what the right
function and a list of mistaken ones do; it names the mistake that does the same, not the answer.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Verdict(str):
    """What a check said; ``passed`` is None where nothing is written yet."""

    passed: bool | None

    def __new__(cls, text: str, passed: bool | None) -> "Verdict":
        verdict = super().__new__(cls, text)
        verdict.passed = passed
        return verdict

    def _ipython_display_(self) -> None:
        """Show nothing more: the check has printed it."""


def exercise(
    right: Callable, mistakes: dict[str, Callable], tolerance: float = 1e-4
) -> Callable[[Callable[[Any], Tensor]], Callable[[Any], Verdict]]:
    """Make a check of a function that observes what an answer does.

    Parameters
    ----------
    right : what a right answer does the same as
    mistakes : message -> an answer that makes this mistake; the first that fits is named
    tolerance : float, greatest difference of any observed number
    """

    def decorate(observe: Callable[[Any], Tensor]) -> Callable[[Any], Verdict]:
        def judge(answer: Any) -> Verdict:
            try:
                seen = observed(answer)
            except NotImplementedError:
                return Verdict("not written yet: fill in the cell above, then run this one.", None)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".rstrip(".")
                return Verdict(f"Your function stopped with {reason}.", False)
            for message, other in {"Right.": right, **mistakes}.items():
                if same(seen, observed(other)):
                    return Verdict(message, other is right)
            return Verdict(
                "Not right, in a way that this check does not know. Take two numbers, work the "
                "answer out on paper, and compare.",
                False,
            )

        def observed(answer: Any) -> Tensor:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return observe(answer)

        def same(a: Tensor, b: Tensor) -> bool:
            return a.shape == b.shape and bool(torch.allclose(a, b, rtol=0, atol=tolerance))

        @functools.wraps(observe)
        def check(answer: Any) -> Verdict:
            verdict = judge(answer)
            print(f"{observe.__name__}: {verdict}")
            return verdict

        return check

    return decorate


def tensor_like(value: Any, like: Tensor) -> Tensor:
    """Return ``value`` in float64, or raise where it is no tensor of that shape or not finite."""
    if not isinstance(value, Tensor):
        raise TypeError(f"it should return a tensor, not {type(value).__name__}")
    if value.shape != like.shape:
        raise ValueError(f"it should return {tuple(like.shape)} numbers, not {tuple(value.shape)}")
    if not torch.isfinite(value).all():
        raise ValueError("it returned a number that is not finite")
    return value.detach().double()


def all_like(values: Iterable[Any], like: Tensor) -> Tensor:
    """Return each of ``values`` as ``tensor_like`` does, stacked."""
    return torch.stack([tensor_like(value, like) for value in values])


def number(value: Any) -> Tensor:
    """Return one finite number in float64, written as a number or as a tensor of one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Tensor)):
        raise TypeError(f"it should return one number, not {type(value).__name__}")
    return tensor_like(torch.as_tensor(value), torch.zeros(()))
