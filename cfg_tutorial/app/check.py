"""Checks under the exercises: they say which mistake an answer makes. They know no notebook.

A check runs the learner's function on a few cases and compares what it does with what the right
function and a list of mistaken ones do; it names the mistake that does the same, not the answer.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial import guidance, measures
from cfg_tutorial.diffusion import drop_labels as right_drop_labels
from cfg_tutorial.domains.mixtures import GaussianMixture
from cfg_tutorial.measures import correct_counts


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
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    seen = observe(answer)
            except NotImplementedError:
                return Verdict("not written yet: fill in the cell above, then run this one.", None)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".rstrip(".")
                return Verdict(f"Your function stopped with {reason}.", False)
            for message, other in {"Right.": right, **mistakes}.items():
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    expected = observe(other)
                if same(seen, expected):
                    return Verdict(message, other is right)
            return Verdict(
                "Not right, in a way that this check does not know. Take two numbers, work the "
                "answer out on paper, and compare.",
                False,
            )

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


def _shift(step: float) -> Callable:
    return lambda cond, uncond, scale: uncond + (scale + step) * (cond - uncond)


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
    return torch.stack([tensor_like(f, cond) for f in found])


def _always_two(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    null = torch.full_like(label, model.null_label)
    cond, uncond = model(x, level, label), model(x, level, null)
    return guidance.guide(cond, uncond, scale)


def _two_at_zero(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    return (model if scale == 1 else functools.partial(_always_two, model, scale=scale))(
        x, level, label
    )


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


def _right_guided(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    return guidance.guided(model, scale)(x, level, label)


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
    model = GaussianMixture([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]], [0.1] * 3, _LAWS)
    x, level = torch.tensor([[0.3, 0.1], [-0.4, 1.0], [0.2, 0.6]]), torch.tensor(0.8)
    label, seen = torch.tensor([0, 1, 1]), []
    for scale in (0.0, 1.0, 3.0):
        model.rows_run = 0
        found = tensor_like(answer(model, x, level, label, scale), x).flatten()
        seen += [found, found.new_tensor([model.rows_run])]
    return torch.cat(seen)


_LAWS = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]


def _in_place(label: Tensor, p_uncond: float, null_label: int) -> Tensor:
    label[torch.rand(len(label)) < p_uncond] = null_label
    return label


def _always_the_first(label: Tensor, p_uncond: float, null_label: int) -> Tensor:
    dropped = torch.arange(len(label)) < p_uncond * len(label)
    return label.masked_fill(dropped, null_label)


@exercise(
    right_drop_labels,
    {
        "One coin for the whole batch: either all of it loses its labels or none of it. Each row "
        "needs its own coin.": lambda label, p, null: (
            torch.full_like(label, null) if torch.rand(()) < p else label
        ),
        "You keep a label with probability p_uncond; that is how often it should be "
        "dropped.": lambda label, p, null: right_drop_labels(label, 1 - p, null),
        "Dropped rows become class 0, and class 0 has samples of its own. They should become "
        "null_label.": lambda label, p, null: right_drop_labels(label, p, 0),
        "Dropped rows become -1, which no network has an embedding for. They should become "
        "null_label.": lambda label, p, null: right_drop_labels(label, p, -1),
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


def _number(value: Any) -> Tensor:
    """Return one finite number in float64, written as a number or as a tensor of one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Tensor)):
        raise TypeError(f"it should return one number, not {type(value).__name__}")
    return tensor_like(torch.as_tensor(value), torch.zeros(()))


CONVENTIONS = ("ours", "Ho & Salimans", "diffusers", "EDM2", "MusicGen", "LLaDA")
_FROM_ZERO = ("Ho & Salimans", "LLaDA")  # there 0 is conditional


def _converted(from_zero: tuple[str, ...], step: float = 1.0) -> Callable:
    return lambda value, source, target: (
        value + step * ((source in from_zero) - (target in from_zero))
    )


@exercise(
    _converted(_FROM_ZERO),
    {
        "The number is the same in all conventions: two of them count from another zero.": (
            lambda value, source, target: value
        ),
        "Wrong sign: the paper's 0 is conditional, and that is 1 here.": _converted(
            _FROM_ZERO, -1.0
        ),
        "LLaDA counts as the paper does: look at its row of the table.": _converted(
            ("Ho & Salimans",)
        ),
        "You convert LLaDA's scale and not that of Ho & Salimans.": _converted(("LLaDA",)),
        "You take diffusers' scale for the paper's w: it is the s of this package.": _converted(
            ("Ho & Salimans", "LLaDA", "diffusers")
        ),
        "You look at where the number comes from, and not at where it goes to.": (
            lambda value, source, target: value + (source in _FROM_ZERO)
        ),
        "You look at where the number goes to, and not at where it comes from.": (
            lambda value, source, target: value - (target in _FROM_ZERO)
        ),
        "You change the number even when both conventions are the same.": (
            lambda value, source, target: (
                value + (1 if source in _FROM_ZERO else -1 if target in _FROM_ZERO else 0)
            )
        ),
    },
)
def convert_scale(answer: Any) -> Tensor:
    """Check ``fn(value, source, target) -> float``, a scale in another of CONVENTIONS."""
    asked = [(v, a, b) for v in (0.0, 3.5) for a in CONVENTIONS for b in CONVENTIONS]
    return torch.stack([_number(answer(*one)) for one in asked])


def _covered(least: Callable, own: Callable = lambda weights: weights > 0) -> Callable:
    def share(counts: Tensor, weights: Tensor) -> Tensor:
        kept = own(weights)
        return (counts >= least(counts, weights))[kept].double().mean()

    return share


def _quarter(counts: Tensor, weights: Tensor) -> Tensor:
    return 0.25 * counts.sum() * weights


@exercise(
    measures.mode_coverage,
    {
        "One sample is enough for you: a mode that should have hundreds is not covered by "
        "one.": _covered(lambda counts, weights: torch.ones_like(weights)),
        "You ask each mode for its whole share. By chance alone half of them would miss it: a "
        "quarter is enough.": _covered(lambda counts, weights: counts.sum() * weights),
        "You ask all modes for the same number: a rare mode needs fewer samples than a common "
        "one.": _covered(lambda counts, weights: 0.25 * counts.sum() / len(weights)),
        "You count modes that the class does not have: their weight is 0.": _covered(
            _quarter, lambda weights: weights > -1
        ),
        "You divide by all modes: those of weight 0 are not the class's.": lambda c, w: (
            ((c >= _quarter(c, w)) & (w > 0)).double().mean()
        ),
        "This is the number of covered modes, not their share.": lambda c, w: (
            ((c >= _quarter(c, w)) & (w > 0)).double().sum()
        ),
        "A mode with exactly as many samples as it needs is covered.": lambda c, w: (
            (c > _quarter(c, w))[w > 0].double().mean()
        ),
        "You add up the weights of the covered modes: each mode counts once here, however rare "
        "it is.": lambda c, w: w[c >= _quarter(c, w)].sum(),
        "These are the modes that are missing.": lambda c, w: (
            (c < _quarter(c, w))[w > 0].double().mean()
        ),
    },
)
def mode_coverage(answer: Any) -> Tensor:
    """Check ``fn(counts, weights) -> float``, the share of a class's modes that are covered."""
    weights = torch.tensor([0.5, 0.25, 0.125, 0.125, 0.0], dtype=torch.float64)
    rows = [[48, 4, 1, 8, 3], [52, 0, 2, 2, 8], [20, 12, 6, 26, 0], [64, 0, 0, 0, 0]]
    counts = torch.tensor(rows, dtype=torch.float64)
    return torch.stack([_number(answer(one, weights.clone())) for one in counts])


def _share(counts: Tensor) -> Tensor:
    return counts / counts.sum()


@exercise(
    measures.effective_modes,
    {
        "This is the entropy. Its exponential is a number of modes.": lambda counts: (
            torch.special.entr(_share(counts)).sum()
        ),
        "Wrong sign: your number falls as the modes become more even.": lambda counts: (
            -torch.special.entr(_share(counts)).sum()
        ).exp(),
        "You count the modes that have a sample, however few.": lambda counts: (
            (counts > 0).double().sum()
        ),
        "You mix two bases: natural logarithms go with exp, logarithms to base 2 with powers of "
        "2.": lambda counts: 2 ** torch.special.entr(_share(counts)).sum(),
        "You mix two bases: logarithms to base 2 do not go with exp.": lambda counts: (
            torch.special.entr(_share(counts)).sum() / torch.tensor(2.0).log()
        ).exp(),
        "This is 1 over the sum of squared shares: another number of modes, which makes less of "
        "rare ones. Use the entropy.": lambda counts: 1 / _share(counts).square().sum(),
        "You divide by the number of modes: 8 even modes should give 8.": lambda counts: (
            torch.special.entr(_share(counts)).sum().exp() / len(counts)
        ),
    },
)
def effective_modes(answer: Any) -> Tensor:
    """Check ``fn(counts) -> float``, exp of the entropy of the modes' shares; counts may be 0."""
    rows = [[50, 30, 15, 5], [25, 25, 25, 25], [90, 10, 0, 0], [7, 0, 0, 0]]
    return torch.stack([_number(answer(torch.tensor(row, dtype=torch.float64))) for row in rows])


def _law(weight: Callable) -> Callable:
    return lambda cond, uncond, scale: _share(weight(cond, uncond, scale))


@exercise(
    _law(lambda cond, uncond, scale: cond**scale * uncond ** (1 - scale)),
    {
        "Your law does not sum to 1.": lambda cond, uncond, scale: (
            cond**scale * uncond ** (1 - scale)
        ),
        "The two laws have changed places: your scale 1 is unconditional.": _law(
            lambda cond, uncond, scale: uncond**scale * cond ** (1 - scale)
        ),
        "Off by one: your scale 0 is the class's law already.": _law(
            lambda cond, uncond, scale: cond ** (1 + scale) * uncond**-scale
        ),
        "You left out the unconditional law: this sharpens the class, and does not ask what sets "
        "it apart.": _law(lambda cond, uncond, scale: cond**scale),
        "Both laws have a positive exponent: what is common everywhere should lose, not win.": (
            _law(lambda cond, uncond, scale: cond**scale * uncond)
        ),
        "You mix the laws themselves; guidance mixes their logarithms.": _law(
            lambda cond, uncond, scale: (scale * cond + (1 - scale) * uncond).clamp(min=0)
        ),
        "The scale does nothing yet.": lambda cond, uncond, scale: cond,
    },
)
def tilted(answer: Any) -> Tensor:
    """Check ``fn(cond, uncond, scale) -> Tensor (k,)``, the tilted law; no weight is 0."""
    cond = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    uncond = torch.tensor([0.3, 0.2, 0.2, 0.3], dtype=torch.float64)
    found = [answer(cond.clone(), uncond.clone(), scale) for scale in (0.0, 1.0, 2.5)]
    return torch.stack([tensor_like(one, cond) for one in found])


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
    return torch.stack([tensor_like(answer(x.clone(), x0.clone(), *p), x) for p in pairs])


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
            _shift(1)
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


def _steps(scaled: Callable, start: float = 1.0) -> Callable:
    return lambda uncond, conds, scales: start * uncond + scaled(uncond, conds, scales)


def _sum_of_steps(shift: float = 0.0) -> Callable:
    return lambda uncond, conds, scales: sum(
        (scale + shift) * (cond - uncond) for cond, scale in zip(conds, scales, strict=True)
    )


@exercise(
    _steps(_sum_of_steps()),
    {
        "You return the steps alone: they start from the unconditional prediction.": _steps(
            _sum_of_steps(), 0.0
        ),
        "You sum the conditional predictions, not their differences from the unconditional "
        "one.": _steps(
            lambda uncond, conds, scales: sum(s * c for s, c in zip(scales, conds, strict=True))
        ),
        "You subtract the unconditional prediction once; each label has a step of its own.": (
            lambda uncond, conds, scales: sum(s * c for s, c in zip(scales, conds, strict=True))
        ),
        "Off by one: with scale 1 for one label and 0 for the others, the answer is that label's "
        "prediction.": _steps(_sum_of_steps(-1.0)),
        "Wrong sign: a positive scale leads away from its label.": _steps(
            lambda *asked: -_sum_of_steps()(*asked)
        ),
        "You take the mean over the labels: a second label must not weaken the first.": _steps(
            lambda uncond, conds, scales: _sum_of_steps()(uncond, conds, scales) / len(scales)
        ),
        "You divide by the sum of the scales: two labels would be worth no more than one.": _steps(
            lambda uncond, conds, scales: _sum_of_steps()(uncond, conds, scales) / sum(scales)
        ),
        "You use the first label only.": _steps(
            lambda uncond, conds, scales: scales[0] * (conds[0] - uncond)
        ),
    },
)
def composed(answer: Any) -> Tensor:
    """Check ``fn(uncond, conds, scales) -> Tensor``, guidance by several labels; lists of k."""
    uncond = torch.tensor([[0.2, 0.7], [-1.5, 2.0]])
    conds = [uncond + torch.tensor([1.0, -2.0]), uncond + torch.tensor([0.5, 3.0])]
    found = [answer(uncond.clone(), list(conds), scales) for scales in ([1.5, 0.7], [2.0, -0.5])]
    return torch.stack([tensor_like(one, uncond) for one in found])


@exercise(
    lambda heard, wanted: 1200 * (heard / wanted).log2(),
    {
        "You return the difference in hertz: the same interval has more hertz higher up.": (
            lambda heard, wanted: heard - wanted
        ),
        "Upside down: what is too high should have a positive number.": (
            lambda heard, wanted: 1200 * (wanted / heard).log2()
        ),
        "An octave is a factor of 2: you took the natural logarithm.": (
            lambda heard, wanted: 1200 * (heard / wanted).log()
        ),
        "An octave is a factor of 2: you took the logarithm to base 10.": (
            lambda heard, wanted: 1200 * (heard / wanted).log10()
        ),
        "You return semitones; a semitone has 100 cents.": (
            lambda heard, wanted: 12 * (heard / wanted).log2()
        ),
        "You return octaves; an octave has 1,200 cents.": (
            lambda heard, wanted: (heard / wanted).log2()
        ),
        "You count 100 cents an octave; it has 12 semitones of 100.": (
            lambda heard, wanted: 100 * (heard / wanted).log2()
        ),
        "You lose the sign: too low is negative.": (
            lambda heard, wanted: (1200 * (heard / wanted).log2()).abs()
        ),
        "You return per cent of the frequency: equal steps in pitch are equal factors.": (
            lambda heard, wanted: 100 * (heard / wanted - 1)
        ),
    },
    tolerance=0.05,
)
def cents(answer: Any) -> Tensor:
    """Check ``fn(heard, wanted) -> Tensor (n,)``, cents between frequencies (n,) in hertz."""
    wanted = torch.tensor([523.25, 587.33, 880.0, 440.0])
    heard = wanted * 2 ** (torch.tensor([13.0, -35.0, 1200.0, -702.0]) / 1200)
    return tensor_like(answer(heard.clone(), wanted.clone()), wanted)
