"""Checks of the exercises of 03_text_tokens and 03b_text_more, and figures. Knows no model."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from cfg_tutorial import guidance, measures
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


def _hide(tokens: Tensor, level: Tensor, mask: int, shown: bool = False) -> Tensor:
    turn = torch.rand(tokens.shape).argsort(1)
    hidden = turn < level[:, None] * tokens.shape[1]
    return torch.where(hidden ^ shown, mask, tokens)


def _hide_in_one_order(tokens: Tensor, level: Tensor, mask: int, turn: Any = None) -> Tensor:
    turn = torch.randperm(tokens.shape[1]) if turn is None else turn
    return torch.where(turn < level[:, None] * tokens.shape[1], mask, tokens)


@exercise(
    _hide,
    {
        "How many places a row hides is left to chance. The level says how many: a coin for each "
        "place does that only on average.": lambda tokens, level, mask: torch.where(
            torch.rand(tokens.shape) < level[:, None], mask, tokens
        ),
        "You hide the share that should stay, and show the share that should be "
        "hidden.": lambda tokens, level, mask: _hide(tokens, level, mask, shown=True),
        "It is always the first places that are hidden: choose them at "
        "random.": lambda tokens, level, mask: _hide_in_one_order(
            tokens, level, mask, torch.arange(tokens.shape[1])
        ),
        "All rows hide the same places: each row needs an order of its own.": _hide_in_one_order,
        "Hidden places hold the number 0, and 0 is a word. They should hold "
        "mask.": lambda tokens, level, mask: _hide(tokens, level, 0),
        "One level serves all rows: each row has its own.": lambda tokens, level, mask: _hide(
            tokens, level[:1], mask
        ),
        "Right places, but the text that came in is masked too, and the loss needs its "
        "words.": lambda tokens, level, mask: tokens.copy_(_hide(tokens, level, mask)),
        "You return where to hide, not the text with its masks.": lambda tokens, level, mask: (
            _hide(tokens, level, mask) == mask
        ),
        "No place is hidden yet.": lambda tokens, level, mask: tokens,
    },
    tolerance=0.04,
)
def hide_words(answer: Any) -> Tensor:
    """Check ``fn(tokens, level, mask) -> Tensor (n, L)``: what it hides in 10 batches."""
    given, level, mask = torch.arange(1, 5).repeat(2000, 1), torch.arange(4).add(1) / 4, 9
    level, tokens, seen, orders = level.repeat(500), given.clone(), [], set()
    for _ in range(10):
        found = answer(tokens, level.clone(), mask)
        tensor_like(found, given)
        untouched, tokens = torch.equal(tokens, given), given.clone()
        hidden = found != given
        rows = hidden[level == 0.5]
        alike = bool((rows == rows[0]).all())
        orders.add(tuple(rows[0].tolist()) if alike else ())
        number = hidden.sum(1)
        new = found[hidden].double()
        exact = (number == 4 * level).view(-1, 4).double().mean(0)
        mean = number.view(-1, 4).double().mean(0) / 4
        place = torch.zeros(4) if alike else hidden.double().mean(0)
        said = [alike, untouched, found.dtype == torch.bool, new.mean() if len(new) else 0]
        seen.append(torch.cat([exact, mean, place, torch.tensor(said).double()]))
    return torch.cat([torch.stack(seen).mean(0), torch.tensor([float(len(orders) > 1)])])


def _reveal(
    law: Callable = lambda log_prob, place: log_prob[torch.arange(len(place)), place],
    draw: Callable = lambda logits: torch.distributions.Categorical(logits=logits).sample(),
    where: Callable = lambda place: place,
) -> Callable:
    def answer(tokens: Tensor, log_prob: Tensor, place: Tensor) -> Tensor:
        found = tokens.clone()
        found[torch.arange(len(tokens)), where(place)] = draw(law(log_prob, place))
        return found

    return answer


def _one_draw(logits: Tensor) -> Tensor:
    return torch.distributions.Categorical(logits=logits[0]).sample()


@exercise(
    _reveal(),
    {
        "You take the likeliest word every time. Draw one, so that each word comes as often as its "
        "probability says.": _reveal(draw=lambda logits: logits.argmax(1)),
        "You fill all places at once. This step reveals one, and the others stay "
        "masked.": lambda tokens, log_prob, place: torch.distributions.Categorical(
            logits=log_prob
        ).sample(),
        "You draw from the law of the first place, wherever the place is.": _reveal(
            lambda log_prob, place: log_prob[:, 0]
        ),
        "Right words, but they are written into the first place.": _reveal(where=torch.zeros_like),
        "One draw serves all rows: each row needs its own.": _reveal(draw=_one_draw),
        "You hand over probabilities where logarithms are expected: the draws are too even, and "
        "forbidden words come.": _reveal(
            draw=lambda logits: torch.distributions.Categorical(logits=logits.softmax(1)).sample()
        ),
        "All words are equally likely: the model's answer is not used.": _reveal(
            draw=lambda logits: torch.randint(logits.shape[1], (len(logits),))
        ),
        "Right, but the text that came in is changed too. Return a new one.": lambda *given: given[
            0
        ].copy_(_reveal()(*given)),
        "Nothing is revealed yet.": lambda tokens, log_prob, place: tokens,
    },
    tolerance=0.04,
)
def reveal_word(answer: Any) -> Tensor:
    """Check ``fn(tokens, log_prob, place) -> Tensor (n, L)``: what it draws in 10 batches."""
    laws = torch.tensor([[0.6, 0.3, 0.1], [0.0, 0.2, 0.8], [0.25, 0.5, 0.25]])
    log_prob = (laws.log() + torch.tensor([[0.7], [-1.2], [0.4]])).repeat(1500, 1, 1)
    place, given = torch.arange(3).repeat(500), torch.full((1500, 3), 3)
    at, tokens, draws = one_hot(place, 3).bool(), given.clone(), []
    for _ in range(10):
        draws.append(tensor_like(answer(tokens, log_prob.clone(), place.clone()), given).long())
        untouched, tokens = torch.equal(tokens, given), given.clone()
    found = torch.stack(draws)
    words = found[:, at].view(10, 500, 3)
    alike = bool((words == words[:, :1]).all())
    same = alike and bool((words == words[:1]).all())
    shares = one_hot(words, 4).double().mean((0, 1)).flatten() * (same or not alike)
    others = (found[:, ~at] != 3).double().mean()
    return torch.cat([shares, torch.tensor([others, float(alike), float(same), float(untouched)])])


def _repeat(
    prompt: Callable = lambda rows, times: rows.repeat_interleave(times, 0),
    negative: Callable = lambda rows, times: rows.repeat_interleave(times, 0),
) -> Callable:
    return lambda rows, others, times: (prompt(rows, times), negative(others, times))


def _tiled(rows: Tensor, times: int) -> Tensor:
    return rows.repeat(times, 1)


@exercise(
    _repeat(),
    {
        "The negative prompt is not repeated: that is the trap.": _repeat(
            negative=lambda rows, times: rows
        ),
        "The prompt is not repeated, only the negative one is.": _repeat(
            prompt=lambda rows, times: rows
        ),
        "The pairs are broken: one of the two is repeated block by block, the other row by row. "
        "Each copy of a prompt needs its own negative prompt.": _repeat(negative=_tiled),
        "The pairs are broken: one of the two is repeated row by row, the other block by block. "
        "Each copy of a prompt needs its own negative prompt.": _repeat(prompt=_tiled),
        "The pairs are right, but copies of one prompt should stand next to each other, as "
        "generate returns them.": _repeat(_tiled, _tiled),
        "The prompts have become longer, not more: repeat rows, not tokens.": _repeat(
            lambda rows, times: rows.repeat(1, times), lambda rows, times: rows.repeat(1, times)
        ),
        "The two have changed places: the prompt comes first.": lambda rows, others, times: (
            _repeat()(others, rows, times)
        ),
        "Nothing is repeated yet.": lambda *given: given[:2],
    },
)
def repeat_prompts(answer: Any) -> Tensor:
    """Check ``fn(prompt, negative, times) -> (prompt, negative)``, both of times as many rows."""
    rows = torch.tensor([[11, 12], [21, 22], [31, 32]])
    found = answer(rows.clone(), -rows, 2)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise TypeError("it should return two tensors, (prompt, negative)")
    shapes = [torch.tensor([one.ndim, *one.shape]) for one in found]
    return torch.cat([*shapes, *(one.flatten() for one in found)]).double()


def _next(
    line: Callable = guidance.guide,
    kept: Callable = lambda logits, top_k: logits.topk(top_k).indices,
    draw: Callable = lambda logits: torch.distributions.Categorical(logits=logits).sample(),
    first: bool = False,
) -> Callable:
    def cut(logits: Tensor, top_k: int) -> Tensor:
        if not top_k:
            return logits
        forbidden = torch.full_like(logits, -torch.inf)
        places = kept(logits, top_k)
        return forbidden.scatter(1, places, logits.gather(1, places))

    def answer(cond: Tensor, uncond: Tensor, scale: float, top_k: int) -> Tensor:
        guided = line(cond, uncond, scale)
        if first:  # what the prediction with the prompt alone would keep
            return draw(torch.where(cut(cond, top_k).isneginf(), -torch.inf, guided))
        return draw(cut(guided, top_k))

    return answer


@exercise(
    _next(),
    {
        "You choose the words to keep before you guide. Guide first: a word that guidance lifts "
        "may be among the likeliest then.": _next(first=True),
        "You take the likeliest word every time. Draw one from those that are kept.": _next(
            draw=lambda logits: logits.argmax(1)
        ),
        "No word is cut off: top_k is not used.": _next(
            kept=lambda logits, top_k: logits.argsort(1)
        ),
        "One word too many is kept: with top_k 2 only two may be drawn.": _next(
            kept=lambda logits, top_k: logits.topk(top_k + 1).indices
        ),
        "You keep the least likely words.": _next(
            kept=lambda logits, top_k: (-logits).topk(top_k).indices
        ),
        "The scale does nothing yet: the words are those of the prompt alone.": _next(
            lambda cond, uncond, scale: cond
        ),
        "The two predictions have changed places: your scale 1 is the negative prompt.": _next(
            lambda cond, uncond, scale: guidance.guide(uncond, cond, scale)
        ),
        "Off by one: here scale 1 is the prompt as it is.": _next(
            lambda cond, uncond, scale: guidance.guide(cond, uncond, scale + 1)
        ),
    },
    tolerance=0.04,
)
def next_word(answer: Any) -> Tensor:
    """Check ``fn(cond, uncond, scale, top_k) -> Tensor (n,)``: how often each word is drawn."""
    cond = torch.tensor([[0.40, 0.30, 0.20, 0.10], [0.10, 0.15, 0.35, 0.40]]).log() + 0.5
    uncond = torch.tensor([[0.45, 0.35, 0.10, 0.10], [0.10, 0.05, 0.35, 0.50]]).log() - 1
    cond, uncond, seen = cond.repeat(2000, 1), uncond.repeat(2000, 1), []
    for scale, top_k in ((1.0, 0), (3.0, 0), (1.0, 2), (3.0, 2)):
        word = answer(cond.clone(), uncond.clone(), scale, top_k)
        word = tensor_like(word, torch.zeros(len(cond))).long()
        seen.append(one_hot(word.view(-1, 2), 4).double().mean(0).flatten())
    return torch.cat(seen)


LAWS = {
    "tilted_whole": ("tilted, whole sentence", "--", "#56B4E9"),
    "tilted": ("tilted, topic alone", ":", "#E69F00"),
}


def table(found: dict[float, Any]) -> Any:
    """Return what was measured, scale -> Coverage, as a table."""
    from pandas import DataFrame

    names = {"alignment": "alignment", "accuracy": "accuracy", "mode_coverage": "coverage"}
    names |= {"effective_modes": "effective topics", "validity": "valid"}
    rows = {s: {said: getattr(r, name) for name, said in names.items()} for s, r in found.items()}
    return DataFrame(rows).T.rename_axis("scale").round(2)


def draw_bars(texts: list[str], laws: dict[str, Any], drawn: dict[str, Any]) -> Any:
    """Return a figure of laws as bars, and of the shares that were drawn as diamonds on them."""
    from cfg_tutorial.domains.picture import Picture

    ax, colours = Picture(figsize=(7, 3.2)).add_subplot(), ["#E69F00", "#000000", "#56B4E9"]
    for i, (name, law) in enumerate(laws.items()):
        at = [k + 0.27 * (i - 1) for k in range(len(texts))]
        ax.bar(at, law, width=0.25, color=colours[i], label=name)
        words = "samples" if name == [*drawn][-1] else None
        ax.plot(at, drawn.get(name, 0 * law - 1), "D", color="white", mec="black", label=words)
    ax.legend(frameon=False, loc="upper center")
    ax.set_xticks(range(len(texts)), texts)
    ax.set(xlabel="text", ylabel="share of texts", ylim=(0, None))
    return ax.figure


def draw_curves(domain: Any, runs: dict[str, tuple[dict[float, Any], str, str]]) -> Any:
    """Return a figure of topics, alignment and validity: name -> ({scale: Coverage}, look, colour).

    Beside them stand the tilted laws of class 0; the last run's scales are written at its points.
    """
    from cfg_tutorial.domains.picture import Picture

    figure = Picture(figsize=(11.5, 3.4), layout="constrained")
    by_scale, by_alignment, valid = figure.subplots(1, 3)
    for name, (found, look, colour) in runs.items():
        style, topics = (
            {"color": colour, "label": name},
            [r.effective_modes for r in found.values()],
        )
        by_scale.plot([*found], topics, look, **style)
        by_alignment.plot([r.alignment for r in found.values()], topics, look, **style)
        valid.plot([*found], [r.validity for r in found.values()], look, **style)
    for law, (name, look, colour) in LAWS.items():
        topics = [measures.effective_modes(domain.laws[law](s, 0)) for s in found]
        by_scale.plot([*found], topics, look, color=colour, label=name)
    for s, r in found.items():
        at = (r.alignment, r.effective_modes)
        by_alignment.annotate(f"s={s}", at, (7, 5), textcoords="offset points")
    by_scale.legend(frameon=False)
    for ax, label in ((by_scale, "guidance_scale"), (by_alignment, "alignment, p(class | topic)")):
        ax.set(xlabel=label, ylabel="effective topics (of 8)")
    valid.set(xlabel="guidance_scale", ylabel="valid sentences (share)", ylim=(0, 1.05))
    return figure
