"""Each check names at least four mistakes, each in its own words, and takes other right answers."""

import importlib
import pkgutil
import subprocess
import sys

import pytest
import torch

from cfg_tutorial import check, guide, guided, interval, measures, sample_euler

# Answers written here on their own, not taken from the check's list of mistakes.


def two_rows_at_once(model, x, level, label, scale):
    if scale in (0, 1):
        return model(x, level, label if scale else torch.full_like(label, model.null_label))
    labels = torch.cat([label, torch.full_like(label, model.null_label)])
    cond, uncond = model(torch.cat([x, x]), level, labels).chunk(2)
    return scale * cond + (1 - scale) * uncond


def unpacked_in_the_wrong_order(model, x, level, label, scale):
    if scale in (0, 1):
        return model(x, level, torch.full_like(label, model.null_label) if scale else label)
    labels = torch.cat([label, torch.full_like(label, model.null_label)])
    uncond, cond = model(torch.cat([x, x]), level, labels).chunk(2)
    return uncond + scale * (cond - uncond)


def pays_always(model, x, level, label, scale):
    uncond = model(x, level, torch.full_like(label, model.null_label))
    return uncond + scale * (model(x, level, label) - uncond)


def pays_unless_zero(model, x, level, label, scale):
    uncond = model(x, level, torch.full_like(label, model.null_label))
    return uncond if scale == 0 else uncond + scale * (model(x, level, label) - uncond)


def null_is_class_zero(model, x, level, label, scale):
    if scale == 1:
        return model(x, level, label)
    uncond = model(x, level, 0 * label)
    return uncond if scale == 0 else guide(model(x, level, label), uncond, scale)


def drop_with_where(label, p_uncond, null_label):
    return torch.where(torch.rand_like(label.float()) > p_uncond, label, null_label)


def drop_row_by_row(label, p_uncond, null_label):
    coins = torch.bernoulli(torch.full((len(label),), p_uncond)).bool()
    kept = label.clone()
    kept[coins] = null_label
    return kept


def drop_or_keep_all(label, p_uncond, null_label):
    return label * 0 + null_label if torch.rand(1).item() < p_uncond else label


def drop_without_a_copy(label, p_uncond, null_label):
    label.masked_fill_(torch.rand(len(label)) < p_uncond, null_label)
    return label


def drop_the_last(label, p_uncond, null_label):
    kept = label.clone()
    kept[: int(p_uncond * len(label))] = null_label
    return kept


FROM_ZERO = {"Ho & Salimans", "LLaDA"}


def convert_by_steps(value, source, target):
    if source in FROM_ZERO:
        value = value + 1
    if target in FROM_ZERO:
        value = value - 1
    return value


def convert_by_table(value, source, target):
    zero = {"ours": 1, "diffusers": 1, "EDM2": 1, "MusicGen": 1, "LLaDA": 0, "Ho & Salimans": 0}
    return torch.tensor(value - zero[source] + zero[target])


def cover_one_by_one(counts, weights):
    own = [(c, w) for c, w in zip(counts.tolist(), weights.tolist(), strict=True) if w > 0]
    return sum(c >= sum(counts.tolist()) * w / 4 for c, w in own) / len(own)


def count_by_entropy(counts):
    share = counts[counts > 0] / counts.sum()
    return (2 ** -(share * share.log2()).sum()).item()


def window_by_product(level, scale, lo, hi):
    return 1 + (scale - 1) * (level > lo) * (level <= hi)


def window_about(centre, width, low=0.5, high=0.5):
    log = torch.tensor(centre).double().log()
    return [(log - low * width).exp(), (log + high * width).exp()]


def pick_by_sorting(found, least, place=0):
    ranked = sorted((-modes, i) for i, (aligned, modes) in enumerate(found) if aligned >= least)
    return ranked[place][1]


def rows_one_by_one(levels, lo, hi, outside=1, within=2, first=0, last=-1):
    starts = levels.tolist()[first:last]
    return sum(within if lo < level <= hi else outside for level in starts)


def solve_by_least_squares(read, confusion):
    return torch.linalg.lstsq(confusion.T, read[:, None]).solution[:, 0]


def solve_by_em(read, confusion):
    return measures.correct_counts(read, confusion)


def forbid_with_where(cond, uncond, scale):
    allowed = (cond > -torch.inf) & (uncond > -torch.inf)
    return torch.where(allowed, uncond + scale * (cond - uncond), -torch.inf)


def forbid_and_normalise(cond, uncond, scale):
    line = scale * cond + (1 - scale) * uncond
    line[cond.isinf()] = line[uncond.isinf()] = -torch.inf
    return line.log_softmax(-1)


def large_numbers_for_infinity(cond, uncond, scale):
    cond, uncond = cond.clamp(min=-1e9), uncond.clamp(min=-1e9)
    return uncond + scale * (cond - uncond)


def fall_back_on_the_class(cond, uncond, scale):
    return torch.where(uncond == -torch.inf, cond, scale * cond + (1 - scale) * uncond)


def weigh_row_by_row(row, log_weight):
    weight = log_weight.softmax(0)
    return torch.stack([weight[row == k].sum() for k in range(4)])


def hide_row_by_row(tokens, level, mask):
    hidden = tokens.clone()
    for row, share in zip(hidden, level.tolist(), strict=True):
        row[torch.randperm(len(row))[: round(share * len(row))]] = mask
    return hidden


def hide_by_rank(tokens, level, mask, chance=torch.rand_like):
    rank = chance(tokens.double()).argsort(1).argsort(1)
    return tokens.masked_fill(rank < (level[:, None] * tokens.shape[1]).round(), mask)


def reveal_by_sum(tokens, log_prob, place, of=None, into=None):
    law = log_prob.softmax(2)[range(len(place)), place if of is None else of]
    word = (law.cumsum(1) < torch.rand(len(law), 1)).sum(1).clamp(max=law.shape[1] - 1)
    at = torch.nn.functional.one_hot(place if into is None else into, tokens.shape[1]).bool()
    return torch.where(at, word[:, None], tokens)


def reveal_by_multinomial(tokens, log_prob, place):
    law = log_prob.exp().gather(1, place[:, None, None].expand(-1, 1, log_prob.shape[2]))[:, 0]
    return tokens.scatter(1, place[:, None], law.multinomial(1))


def copies(prompt, negative, times):
    return [torch.stack([row for row in rows for _ in range(times)]) for rows in (prompt, negative)]


def next_by_rank(cond, uncond, scale, top_k):
    law = (scale * cond + (1 - scale) * uncond).softmax(1)
    if top_k > 0:
        law = law * (law.argsort(1, descending=True).argsort(1) < top_k)
    return law.multinomial(1)[:, 0]


def next_by_noise(cond, uncond, scale, top_k, change=0):
    logits = uncond + scale * (cond - uncond)
    least = logits.sort(1, descending=True).values[:, (top_k or logits.shape[1]) - 1 + change]
    logits[logits < least[:, None]] = -torch.inf
    return (logits - torch.empty_like(logits).exponential_().log()).argmax(1)


def loss_row_by_row(log_prob, masked):
    each = [-p[m].mean() * len(p) for p, m in zip(log_prob, masked, strict=True)]
    return torch.stack(each).mean()


def two_precisions(scale, sigma):
    first = 1 / torch.tensor([1.0, 2.0])
    then = 1 / (1 / first + sigma**2)
    powers = torch.tensor([scale, 1 - scale])
    return 1 / (powers @ then), 1 / (powers @ first) + sigma**2


def euler_by_hand(model, x, sigmas, label, last=None):
    for i in range(len(sigmas) - 1)[:last]:
        x0 = model(x, sigmas[i], label)
        x = x0 + (x - x0) * sigmas[i + 1] / sigmas[i]
    return x


def euler_at_the_next(model, x, sigmas, label):
    for sigma, sigma_next in zip(sigmas, sigmas[1:], strict=False):
        x0 = model(x, sigma_next.clamp(min=1e-6), label)
        x = x0.lerp(x, sigma_next / sigma)
    return x


def plain_guidance(model, scale, null=None, off=0):
    def guided_model(x, level, label):
        uncond = model(x, level, 0 * label + (model.null_label if null is None else null))
        return uncond + (scale + off) * (model(x, level, label) - uncond)

    return guided_model


def covered_by_hand(mode, weights, share=0.25, invalid=False):
    total = len(mode) if invalid else sum(m >= 0 for m in mode.tolist())
    counts = [sum(m == k for m in mode.tolist()) for k in range(len(weights))]
    pairs = zip(counts, weights.tolist(), strict=True)
    return sum(count >= share * total * weight for count, weight in pairs) / len(weights)


def two_rows_of(p):
    rows = torch.stack([p, 1 - p])
    return rows / rows.sum(1, keepdim=True)


def left_by_logs(weights, scale):
    cond, uncond = weights[0].log(), weights.mean(0).log()
    return count_by_entropy((scale * cond + (1 - scale) * uncond).softmax(0))


def beside_by_hand(weights, closed=True, own=True, of=1, combine=max, choose=max):
    ours, other = weights[0].tolist(), weights[of].tolist()
    danger = {}
    for k in range(len(ours)):
        after = other[(k + 1) % len(ours)] if closed or k + 1 < len(ours) else 0
        before = other[k - 1] if closed or k else 0
        if not own or ours[k] > weights[1, k]:
            danger[k] = combine(before, after)
    return choose(danger, key=danger.get)


def null_weight_first(scales):
    weights = [1.0]
    for scale in scales:
        weights = [weights[0] - scale, *weights[1:], scale]
    return torch.tensor(weights)


def shared_one_by_one(mode, law, other):
    heard = [k for k in mode.tolist() if k >= 0]
    return sum(law[k] > 0 and other[k] > 0 for k in heard) / len(heard)


RIGHT = {
    "two_orders": [
        two_precisions,
        lambda scale, sigma: [
            (1 + sigma**2) * (2 + sigma**2) / (1 + sigma**2 + scale),
            2 / (1 + scale) + sigma**2,
        ],
    ],
    "own_sampler": [euler_by_hand, lambda *given: [*sample_euler(*given)][-1]],
    "own_guidance": [plain_guidance, guided],
    "own_coverage": [
        covered_by_hand,
        lambda mode, weights: measures.mode_coverage(
            mode[mode >= 0].bincount(minlength=len(weights)), weights
        ),
    ],
    "guide": [
        lambda cond, uncond, scale: uncond + scale * (cond - uncond),
        lambda cond, uncond, scale: cond + (scale - 1) * (cond - uncond),
        lambda cond, uncond, scale: scale * cond + (1 - scale) * uncond,
    ],
    "guided": [
        two_rows_at_once,
        lambda model, x, level, label, scale: guided(guided(model, scale), 1.0)(x, level, label),
    ],
    "drop_labels": [drop_with_where, drop_row_by_row],
    "convert_scale": [convert_by_steps, convert_by_table],
    "mode_coverage": [
        cover_one_by_one,
        lambda counts, weights: (
            (counts >= (counts.sum() * weights / 4).ceil().clamp(min=1))[weights > 0].float().mean()
        ),
    ],
    "effective_modes": [
        count_by_entropy,
        lambda counts: torch.distributions.Categorical(counts).entropy().exp(),
    ],
    "tilted": [
        lambda cond, uncond, scale: (scale * cond.log() + (1 - scale) * uncond.log()).softmax(0),
        lambda cond, uncond, scale: (
            uncond * (cond / uncond) ** scale / (uncond * (cond / uncond) ** scale).sum()
        ),
    ],
    "euler_step": [
        lambda x, x0, sigma, sigma_next: x0 + sigma_next / sigma * (x - x0),
        lambda x, x0, sigma, sigma_next: torch.lerp(x0, x, sigma_next / sigma),
    ],
    "interval": [
        window_by_product,
        lambda level, scale, lo, hi: interval(scale, lo, hi)(level),
        lambda level, scale, lo, hi: torch.tensor(
            [scale if lo < one <= hi else 1.0 for one in level.tolist()]
        ),
    ],
    "window_ends": [
        window_about,
        lambda centre, width: (centre / torch.e ** (width / 2), centre * torch.e ** (width / 2)),
    ],
    "best_window": [
        pick_by_sorting,
        lambda found, least: torch.tensor(
            [modes if aligned >= least else -1.0 for aligned, modes in found]
        ).argmax(),
    ],
    "window_rows": [
        rows_one_by_one,
        lambda levels, lo, hi: interval(2.0, lo, hi)(levels[:-1]).sum(),
    ],
    "correct": [
        solve_by_least_squares,
        solve_by_em,
        lambda read, confusion: read @ confusion.inverse(),
    ],
    "token_guide": [forbid_with_where, forbid_and_normalise],
    "reweigh": [
        weigh_row_by_row,
        lambda row, log_weight: (
            torch.eye(4, dtype=torch.float64)[row].T @ log_weight.exp() / log_weight.exp().sum()
        ),
    ],
    "hide_words": [hide_row_by_row, hide_by_rank],
    "reveal_word": [reveal_by_sum, reveal_by_multinomial],
    "repeat_prompts": [
        copies,
        lambda prompt, negative, times: (
            prompt[:, None].expand(-1, times, -1).flatten(0, 1),
            torch.repeat_interleave(negative, times, dim=0),
        ),
    ],
    "next_word": [next_by_rank, next_by_noise],
    "masked_loss": [
        loss_row_by_row,
        lambda log_prob, masked: (
            -(log_prob * masked / masked.float().mean(1, keepdim=True)).sum() / len(masked)
        ),
    ],
    "composed": [
        lambda uncond, conds, scales: (
            (1 - sum(scales)) * uncond + sum(s * c for s, c in zip(scales, conds, strict=True))
        ),
        lambda uncond, conds, scales: (
            uncond + torch.einsum("k,knd->nd", torch.tensor(scales), torch.stack(conds) - uncond)
        ),
    ],
    "cents": [
        lambda heard, wanted: 1200 * (heard.log2() - wanted.log2()),
        lambda heard, wanted: 1200 * (heard / wanted).log() / torch.tensor(2.0).log(),
    ],
    "branch_weights": [
        null_weight_first,
        lambda scales: (
            torch.tensor([1.0] + [0.0] * len(scales))
            + sum(s * torch.eye(len(scales) + 1)[i + 1] for i, s in enumerate(scales))
            - sum(scales) * torch.eye(len(scales) + 1)[0]
        ),
    ],
    "shared_share": [
        shared_one_by_one,
        lambda mode, law, other: (
            sum((mode == k).sum() for k in (law * other).nonzero()) / (mode >= 0).sum()
        ),
    ],
    "own_law": [two_rows_of, lambda p: torch.stack([p / p.sum(), (1 - p) / (1 - p).sum()])],
    "modes_left": [
        left_by_logs,
        lambda weights, scale: count_by_entropy(
            weights[0] * (weights[0] / weights.sum(0)) ** (scale - 1)
        ),
    ],
    "endangered": [beside_by_hand, lambda weights: torch.tensor(beside_by_hand(weights))],
}

WRONG = {
    "two_orders": [
        lambda scale, sigma: two_precisions(scale, sigma)[::-1],
        lambda scale, sigma: tuple(1 / one for one in two_precisions(scale, sigma)),
        lambda scale, sigma: two_precisions(scale, sigma**0.5),
        lambda scale, sigma: (two_precisions(scale, sigma)[0], 2 / (1 + scale)),
        lambda scale, sigma: (2 / (1 + scale), two_precisions(scale, sigma)[1]),
        lambda scale, sigma: two_precisions(1 - scale, sigma),
        lambda scale, sigma: (2 - scale + sigma**2, 2 - scale + sigma**2),
        lambda scale, sigma: ((1 + sigma**2) / scale, 1 / scale + sigma**2),
        lambda scale, sigma: two_precisions(scale, sigma)[0],
    ],
    "own_sampler": [
        lambda *given: euler_by_hand(*given, last=-1),
        lambda *given: euler_by_hand(*given, last=0),
        lambda model, x, sigmas, label: euler_by_hand(model, x, sigmas[[0, -1]], label),
        euler_at_the_next,
        lambda model, x, sigmas, label: model(x, sigmas[-2], label),
        lambda *given: [*sample_euler(*given)],
    ],
    "own_guidance": [
        lambda model, scale: plain_guidance(model, 1 - scale),
        lambda model, scale: plain_guidance(model, scale, off=1),
        lambda model, scale: plain_guidance(model, scale, null=0),
        lambda model, scale: model,
        lambda model, scale: model(*[torch.zeros(3, 2), torch.ones(()), torch.zeros(3).long()]),
    ],
    "own_coverage": [
        lambda mode, weights: covered_by_hand(mode, weights, share=1),
        lambda mode, weights: covered_by_hand(mode, weights, share=1e-9),
        lambda mode, weights: covered_by_hand(mode, weights, invalid=True),
        lambda mode, weights: covered_by_hand(mode % 4, weights),
        lambda mode, weights: 1 - covered_by_hand(mode, weights),
        lambda mode, weights: 4 * covered_by_hand(mode, weights),
        lambda mode, weights: covered_by_hand(mode, weights) + 7,
    ],
    "guide": [
        lambda cond, uncond, scale: torch.lerp(cond, uncond, scale),
        lambda cond, uncond, scale: uncond + scale * (uncond - cond),
        lambda cond, uncond, scale: (1 + scale) * cond - scale * uncond,
        lambda cond, uncond, scale: (scale - 1) * cond + (2 - scale) * uncond,
        lambda cond, uncond, scale: scale * cond - (1 - scale) * uncond,
        lambda cond, uncond, scale: cond,
        lambda cond, uncond, scale: uncond * scale,
        lambda cond, uncond, scale: (uncond + scale * (cond - uncond))[0],
    ],
    "guided": [
        pays_always,
        pays_unless_zero,
        unpacked_in_the_wrong_order,
        null_is_class_zero,
        lambda model, x, level, label, scale: model(x, level, label),
        lambda model, x, level, label, scale: pays_always(model, x, level, label, scale + 1),
    ],
    "drop_labels": [
        drop_or_keep_all,
        drop_without_a_copy,
        drop_the_last,
        lambda label, p, null: torch.where(torch.rand(len(label)) > p, null, label),
        lambda label, p, null: torch.where(torch.rand(len(label)) < p, 0, label),
        lambda label, p, null: torch.where(torch.rand(len(label)) < p, -1, label),
        lambda label, p, null: label + 0,
    ],
    "convert_scale": [
        lambda value, source, target: value,
        lambda value, source, target: 2 * value - convert_by_steps(value, source, target),
        lambda value, source, target: (
            value + (source == "Ho & Salimans") - (target == "Ho & Salimans")
        ),
        lambda value, source, target: value + (source == "LLaDA") - (target == "LLaDA"),
        lambda value, source, target: (
            convert_by_steps(value, source, target)
            + (source == "diffusers")
            - (target == "diffusers")
        ),
        lambda value, source, target: value + 1 if source in FROM_ZERO else value,
        lambda value, source, target: value - 1 if target in FROM_ZERO else value,
        lambda value, source, target: convert_by_steps(value, source, target) + 0.5,
        lambda value, source, target: f"{value}",
    ],
    "mode_coverage": [
        lambda counts, weights: (counts > 0)[weights > 0].float().mean(),
        lambda counts, weights: (counts >= counts.sum() * weights)[weights > 0].float().mean(),
        lambda counts, weights: (counts >= counts.sum() / 20)[weights > 0].float().mean(),
        lambda counts, weights: (counts >= counts.sum() * weights / 4).float().mean(),
        lambda counts, weights: 0.8 * cover_one_by_one(counts, weights),
        lambda counts, weights: 4 * cover_one_by_one(counts, weights),
        lambda counts, weights: (counts > counts.sum() * weights / 4)[weights > 0].float().mean(),
        lambda counts, weights: (weights * (counts >= counts.sum() * weights / 4)).sum(),
        lambda counts, weights: 1 - cover_one_by_one(counts, weights),
        lambda counts, weights: counts / counts.sum(),
    ],
    "effective_modes": [
        lambda counts: torch.distributions.Categorical(counts).entropy(),
        lambda counts: 1 / count_by_entropy(counts),
        lambda counts: int((counts > 0).sum()),
        lambda counts: 2 ** torch.distributions.Categorical(counts).entropy(),
        lambda counts: count_by_entropy(counts) ** 1.4426950408889634,
        lambda counts: 1 / ((counts / counts.sum()) ** 2).sum().item(),
        lambda counts: count_by_entropy(counts) / 4,
        lambda counts: -(counts / counts.sum() * (counts / counts.sum()).log()).sum().exp(),
        lambda counts: counts.max(),
    ],
    "tilted": [
        lambda cond, uncond, scale: uncond * (cond / uncond) ** scale,
        lambda cond, uncond, scale: (scale * uncond.log() + (1 - scale) * cond.log()).softmax(0),
        lambda cond, uncond, scale: (cond.log() * (1 + scale) - scale * uncond.log()).softmax(0),
        lambda cond, uncond, scale: (scale * cond.log()).softmax(0),
        lambda cond, uncond, scale: (scale * cond.log() + uncond.log()).softmax(0),
        lambda cond, uncond, scale: (
            (scale * cond + (1 - scale) * uncond).relu()
            / (scale * cond + (1 - scale) * uncond).relu().sum()
        ),
        lambda cond, uncond, scale: cond,
        lambda cond, uncond, scale: (scale * cond + (1 - scale) * uncond).softmax(0),
        lambda cond, uncond, scale: cond[:2],
    ],
    "euler_step": [
        lambda x, x0, sigma, sigma_next: x + (sigma - sigma_next) * (x - x0) / sigma,
        lambda x, x0, sigma, sigma_next: x - (sigma - sigma_next) * x0,
        lambda x, x0, sigma, sigma_next: x + (sigma_next - sigma) * (x - x0),
        lambda x, x0, sigma, sigma_next: (
            x + (sigma_next / sigma_next - sigma / sigma_next) * (x - x0)
        ),
        lambda x, x0, sigma, sigma_next: x0 + 0 * x,
        lambda x, x0, sigma, sigma_next: x0 + sigma_next * torch.randn_like(x),
    ],
    "interval": [
        lambda level, scale, lo, hi: scale * (level > lo) * (level <= hi),
        lambda level, scale, lo, hi: (
            window_by_product(level, scale, -1, lo) + window_by_product(level, scale, hi, 1e9) - 1
        ),
        lambda level, scale, lo, hi: 1 + (scale - 1) * (level >= lo) * (level < hi),
        lambda level, scale, lo, hi: 1 + (scale - 1) * (level >= lo) * (level <= hi),
        lambda level, scale, lo, hi: 1 + (scale - 1) * (level > lo) * (level < hi),
        lambda level, scale, lo, hi: window_by_product(level, scale, lo, 1e9),
        lambda level, scale, lo, hi: scale if lo < level <= hi else 1.0,
        lambda level, scale, lo, hi: scale,
    ],
    "window_ends": [
        lambda centre, width: (centre - width / 2, centre + width / 2),
        lambda centre, width: window_about(centre, 2 * width),
        lambda centre, width: window_about(centre, width, 0, 1),
        lambda centre, width: window_about(centre, width, 1, 0),
        lambda centre, width: window_about(centre, width)[::-1],
        lambda centre, width: [one.log() for one in window_about(centre, width)],
        lambda centre, width: (centre / width**0.5, centre * width**0.5),
        lambda centre, width: (centre * 10 ** (-width / 2), centre * 10 ** (width / 2)),
        lambda centre, width: centre,
        lambda centre, width: (1.0, 2.0),
    ],
    "best_window": [
        lambda found, least: pick_by_sorting(found, 0),
        lambda found, least: max(range(len(found)), key=lambda i: found[i][0]),
        lambda found, least: pick_by_sorting([(-a, m) for a, m in found], -least + 1e-9),
        lambda found, least: [a >= least for a, _ in found].index(True),
        lambda found, least: pick_by_sorting(found, least + 1e-9),
        lambda found, least: pick_by_sorting(found, least, -1),
        lambda found, least: pick_by_sorting([p for p in found if p[0] >= least], least),
        lambda found, least: max(modes for aligned, modes in found if aligned >= least),
        lambda found, least: found[pick_by_sorting(found, least)],
    ],
    "window_rows": [
        lambda levels, lo, hi: rows_one_by_one(levels, lo, hi, last=None),
        lambda levels, lo, hi: 2 * len(levels[:-1]),
        lambda levels, lo, hi: len(levels[:-1]),
        lambda levels, lo, hi: rows_one_by_one(levels, lo, hi, outside=0),
        lambda levels, lo, hi: rows_one_by_one(levels, lo, hi, 0, 1),
        lambda levels, lo, hi: rows_one_by_one(levels, lo, hi, 2, 1),
        lambda levels, lo, hi: rows_one_by_one(levels, lo, hi, first=1, last=None),
        lambda levels, lo, hi: rows_one_by_one(levels, lo - 1e-6, hi - 1e-6),
        lambda levels, lo, hi: rows_one_by_one(levels, lo - 1e-6, hi),
        lambda levels, lo, hi: rows_one_by_one(levels, lo, hi - 1e-6),
        lambda levels, lo, hi: levels,
    ],
    "correct": [
        lambda read, confusion: confusion.T @ read,
        lambda read, confusion: confusion.inverse() @ read,
        lambda read, confusion: read / confusion.diag(),
        lambda read, confusion: read + 0.0,
        lambda read, confusion: solve_by_em(read / read.sum(), confusion),
        lambda read, confusion: read.flip(0),
    ],
    "token_guide": [
        lambda cond, uncond, scale: scale * cond + (1 - scale) * uncond,
        large_numbers_for_infinity,
        fall_back_on_the_class,
        lambda cond, uncond, scale: (uncond + scale * (cond - uncond)).nan_to_num(0.0),
        lambda cond, uncond, scale: (
            (uncond.exp() + scale * (cond.exp() - uncond.exp())).relu().log()
        ),
        lambda cond, uncond, scale: (uncond.exp() + scale * (cond.exp() - uncond.exp())).log(),
        lambda cond, uncond, scale: forbid_with_where(uncond, cond, scale),
        lambda cond, uncond, scale: forbid_with_where(cond, uncond, scale + 1),
        lambda cond, uncond, scale: torch.where(uncond.isinf(), uncond, cond),
        lambda cond, uncond, scale: forbid_with_where(cond, uncond, scale)[0],
    ],
    "reweigh": [
        lambda row, log_weight: row.bincount().double() / len(row),
        lambda row, log_weight: row.bincount(log_weight) / log_weight.sum(),
        lambda row, log_weight: row.bincount(1 / log_weight.exp()) / (1 / log_weight.exp()).sum(),
        lambda row, log_weight: row.bincount(log_weight.exp()) / len(row),
        lambda row, log_weight: row.bincount(log_weight.exp()),
        lambda row, log_weight: (row.bincount(log_weight.exp()) / row.bincount()).div(10.0),
        lambda row, log_weight: log_weight.exp() / log_weight.exp().sum(),
    ],
    "hide_words": [
        lambda tokens, level, mask: tokens.masked_fill(
            torch.bernoulli(level[:, None].expand(tokens.shape)).bool(), mask
        ),
        lambda tokens, level, mask: hide_by_rank(tokens, 1 - level, mask),
        lambda tokens, level, mask: hide_by_rank(
            tokens, level, mask, lambda like: torch.arange(like.shape[1]).expand(like.shape)
        ),
        lambda tokens, level, mask: hide_by_rank(
            tokens, level, mask, lambda like: torch.rand(like.shape[1]).expand(like.shape)
        ),
        lambda tokens, level, mask: hide_by_rank(tokens, level, 0),
        lambda tokens, level, mask: hide_by_rank(tokens, 0 * level + level[0], mask),
        lambda tokens, level, mask: tokens.copy_(hide_row_by_row(tokens, level, mask)),
        lambda tokens, level, mask: hide_row_by_row(tokens, level, mask) == mask,
        lambda tokens, level, mask: tokens.clone(),
        lambda tokens, level, mask: 0 * tokens + mask,
    ],
    "reveal_word": [
        lambda tokens, log_prob, place: tokens.scatter(
            1, place[:, None], log_prob.argmax(2).gather(1, place[:, None])
        ),
        lambda tokens, log_prob, place: log_prob.exp().flatten(0, 1).multinomial(1).view_as(tokens),
        lambda tokens, log_prob, place: reveal_by_sum(tokens, log_prob, place, of=0),
        lambda tokens, log_prob, place: reveal_by_sum(tokens, log_prob, place, into=0 * place),
        lambda tokens, log_prob, place: tokens.scatter(
            1, place[:, None], log_prob[0, place[0]].exp().multinomial(1).expand(len(place), 1)
        ),
        lambda tokens, log_prob, place: reveal_by_sum(tokens, log_prob.softmax(2), place),
        lambda tokens, log_prob, place: reveal_by_sum(tokens, 0 * log_prob.softmax(2), place),
        lambda tokens, log_prob, place: tokens.copy_(reveal_by_sum(tokens, log_prob, place)),
        lambda tokens, log_prob, place: tokens + 0,
        lambda tokens, log_prob, place: reveal_by_sum(tokens, log_prob, place)[:, 0],
    ],
    "repeat_prompts": [
        lambda prompt, negative, times: (prompt.repeat_interleave(times, 0), negative),
        lambda prompt, negative, times: (prompt, negative.repeat_interleave(times, 0)),
        lambda prompt, negative, times: (copies(prompt, negative, times)[0], negative.tile(2, 1)),
        lambda prompt, negative, times: (prompt.tile(2, 1), copies(prompt, negative, times)[1]),
        lambda prompt, negative, times: (torch.cat([prompt] * 2), torch.cat([negative] * 2)),
        lambda prompt, negative, times: (prompt.tile(1, times), negative.tile(1, times)),
        lambda prompt, negative, times: copies(negative, prompt, times),
        lambda prompt, negative, times: (prompt, negative),
        lambda prompt, negative, times: copies(prompt, negative, times + 1),
    ],
    "next_word": [
        lambda cond, uncond, scale, top_k: next_by_rank(
            cond.masked_fill(cond < cond.topk(top_k or 4).values[:, -1:], -torch.inf),
            uncond,
            scale,
            top_k,
        ),
        lambda cond, uncond, scale, top_k: (uncond + scale * (cond - uncond)).argmax(1),
        lambda cond, uncond, scale, top_k: next_by_rank(cond, uncond, scale, 0),
        lambda cond, uncond, scale, top_k: next_by_rank(cond, uncond, scale, top_k and top_k + 1),
        lambda cond, uncond, scale, top_k: next_by_rank(cond, cond, scale, top_k),
        lambda cond, uncond, scale, top_k: next_by_rank(uncond, cond, scale, top_k),
        lambda cond, uncond, scale, top_k: next_by_rank(cond, uncond, scale + 1, top_k),
        lambda cond, uncond, scale, top_k: (
            (scale * cond + (1 - scale) * uncond)
            .softmax(1)
            .mul((-scale * cond - (1 - scale) * uncond).argsort(1).argsort(1) >= 4 - (top_k or 4))
            .multinomial(1)[:, 0]
        ),
        lambda cond, uncond, scale, top_k: next_by_rank(cond, uncond, 2 * scale - 1, top_k),
    ],
    "masked_loss": [
        lambda log_prob, masked: -log_prob[masked].sum() / len(masked),
        lambda log_prob, masked: loss_row_by_row(log_prob, masked) / masked.shape[1],
        lambda log_prob, masked: (-log_prob.mean(1) * 16 / masked.sum(1)).mean(),
        lambda log_prob, masked: (
            -torch.where(masked, 0, log_prob).sum(1) * 4 / masked.sum(1)
        ).mean(),
        lambda log_prob, masked: -((log_prob * masked).sum(1) * masked.float().mean(1)).mean(),
        lambda log_prob, masked: -log_prob[masked].mean() * log_prob.shape[1],
        lambda log_prob, masked: -loss_row_by_row(log_prob, masked),
        lambda log_prob, masked: 3 * loss_row_by_row(log_prob, masked),
        lambda log_prob, masked: -(log_prob * masked).sum(1) / masked.float().mean(1),
    ],
    "composed": [
        lambda uncond, conds, scales: sum(
            s * (c - uncond) for s, c in zip(scales, conds, strict=True)
        ),
        lambda uncond, conds, scales: (
            uncond + sum(s * c for s, c in zip(scales, conds, strict=True))
        ),
        lambda uncond, conds, scales: sum(s * c for s, c in zip(scales, conds, strict=True)),
        lambda uncond, conds, scales: (
            uncond + sum((s - 1) * (c - uncond) for s, c in zip(scales, conds, strict=True))
        ),
        lambda uncond, conds, scales: (
            uncond - sum(s * (c - uncond) for s, c in zip(scales, conds, strict=True))
        ),
        lambda uncond, conds, scales: (
            uncond + sum(s * (c - uncond) for s, c in zip(scales, conds, strict=True)) / 2
        ),
        lambda uncond, conds, scales: uncond + scales[0] * (conds[0] - uncond),
        lambda uncond, conds, scales: 7 * uncond,
    ],
    "cents": [
        lambda heard, wanted: heard - wanted,
        lambda heard, wanted: 1200 * (wanted / heard).log2(),
        lambda heard, wanted: 1200 * (heard / wanted).log(),
        lambda heard, wanted: 1200 * (heard / wanted).log10(),
        lambda heard, wanted: 12 * (heard / wanted).log2(),
        lambda heard, wanted: (heard / wanted).log2(),
        lambda heard, wanted: 100 * (heard / wanted).log2(),
        lambda heard, wanted: (1200 * (heard / wanted).log2()).abs(),
        lambda heard, wanted: 100 * (heard / wanted - 1),
        lambda heard, wanted: wanted,
    ],
    "branch_weights": [
        lambda scales: torch.tensor([1.0, *scales]),
        lambda scales: torch.tensor([-sum(scales), *scales]),
        lambda scales: torch.tensor([1 - scales[0], *scales]),
        lambda scales: torch.tensor([sum(scales) - 1, *scales]),
        lambda scales: torch.tensor([0.0, *scales]),
        lambda scales: null_weight_first(scales).roll(-1),
        lambda scales: null_weight_first([s - 1 for s in scales]),
        lambda scales: null_weight_first([s / len(scales) for s in scales]),
        lambda scales: null_weight_first([s / sum(scales) for s in scales]),
        lambda scales: 2 * null_weight_first(scales),
        lambda scales: torch.tensor(scales),
    ],
    "shared_share": [
        lambda mode, law, other: shared_one_by_one(mode % len(law), law, other),
        lambda mode, law, other: (
            shared_one_by_one(mode, law, other) * (mode >= 0).sum() / len(mode)
        ),
        lambda mode, law, other: shared_one_by_one(mode, law + other, law + other),
        lambda mode, law, other: shared_one_by_one(mode, law, law),
        lambda mode, law, other: shared_one_by_one(mode, other, other),
        lambda mode, law, other: 1 - shared_one_by_one(mode, law, other),
        lambda mode, law, other: shared_one_by_one(mode, law, other) * (mode >= 0).sum(),
        lambda mode, law, other: (law * other > 0).float().mean(),
        lambda mode, law, other: shared_one_by_one(mode.unique(), law, other),
        lambda mode, law, other: shared_one_by_one(mode, law, other * (law == other)),
        lambda mode, law, other: law,
    ],
    "own_law": [
        lambda p: torch.stack([p, 1 - p]),
        lambda p: torch.stack([p, 1 - p]) / len(p),
        lambda p: two_rows_of(1 - p),
        lambda p: torch.stack([p, p.flip(0)]) / p.sum(),
        lambda p: torch.stack([p / p.sum(), 1 - p / p.sum()]),
        lambda p: (p / p.sum()).expand(2, -1),
        lambda p: torch.stack([1 / p / (1 / p).sum(), 1 / (1 - p) / (1 / (1 - p)).sum()]),
        lambda p: two_rows_of(p).T,
        lambda p: two_rows_of(p).sqrt(),
    ],
    "modes_left": [
        lambda weights, scale: torch.tensor(left_by_logs(weights, scale)).log(),
        lambda weights, scale: left_by_logs(weights, scale) / left_by_logs(weights, 1),
        lambda weights, scale: left_by_logs(weights, scale) / weights.shape[1],
        lambda weights, scale: count_by_entropy(weights[0] ** scale * weights[1] ** (1 - scale)),
        lambda weights, scale: count_by_entropy(weights[0] ** scale),
        lambda weights, scale: left_by_logs(weights, 1 - scale),
        lambda weights, scale: left_by_logs(weights, 1 + scale),
        lambda weights, scale: left_by_logs(weights.flip(0), scale),
        lambda weights, scale: count_by_entropy(weights[0]),
        lambda weights, scale: weights[0],
    ],
    "endangered": [
        lambda weights: beside_by_hand(weights, closed=False),
        lambda weights: beside_by_hand(weights, own=False),
        lambda weights: beside_by_hand(weights, combine=lambda before, after: after),
        lambda weights: beside_by_hand(weights, combine=lambda before, after: before),
        lambda weights: beside_by_hand(weights, combine=lambda before, after: before + after),
        lambda weights: beside_by_hand(weights, of=0),
        lambda weights: beside_by_hand(weights, choose=min),
        lambda weights: max((w1, k) for k, (w0, w1) in enumerate(weights.T.tolist()) if w0 > w1)[1],
        lambda weights: 0,
        lambda weights: weights[1],
    ],
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_are_taken_however_they_are_written(name, capsys):
    assert len(RIGHT[name]) >= 2
    for answer in RIGHT[name]:
        verdict = getattr(check, name)(answer)
        assert verdict.passed is True, verdict
        assert capsys.readouterr().out == f"{name}: Right.\n"


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_is_named_in_its_own_words(name):
    verdicts = [getattr(check, name)(answer) for answer in WRONG[name]]
    assert [verdict.passed for verdict in verdicts] == [False] * len(verdicts)
    assert len(set(verdicts)) == len(verdicts) >= 4
    named = [v for v in verdicts if "does not know" not in v and "stopped with" not in v]
    assert len(named) >= 4


def checks(module) -> dict:
    return {n: f for n, f in vars(module).items() if hasattr(f, "__wrapped__") and n[0] != "_"}


def test_no_check_is_left_out():
    assert set(checks(check)) == set(RIGHT) == set(WRONG)


def test_no_two_lessons_have_a_check_of_one_name():
    names = [module.name for module in pkgutil.iter_modules(check.__path__)]
    lessons = [importlib.import_module(f"{check.__name__}.{name}") for name in names]
    own = [(name, f) for lesson in lessons for name, f in checks(lesson).items()]
    assert len({name for name, _ in own}) == len(own) == len(checks(check))
    assert all(getattr(check, name) is f for name, f in own)
    assert not {name for name, _ in own} & set(names), "a module would hide the check"


def test_checks_are_loaded_by_what_first_asks_for_them(root):
    code = "import sys, cfg_tutorial as ct; print((name := 'cfg_tutorial.lessons') in sys.modules)"
    code += "; print(ct.check is sys.modules[name], 'check' in dir(ct))"
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.stdout.split() == ["False", "True", "True"], run.stderr


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_a_mistake(name, capsys):
    def stub(*_):
        raise NotImplementedError

    assert getattr(check, name)(stub).passed is None
    assert "not written yet" in capsys.readouterr().out


@pytest.mark.parametrize("name", RIGHT)
def test_an_answer_that_stops_is_told_why(name):
    def stops(*_):
        return {}["key"]

    verdict = getattr(check, name)(stops)
    assert verdict.passed is False and "KeyError" in verdict
    for answer in (lambda *_: None, lambda *_: torch.zeros(1, 2, 3), 3):
        assert getattr(check, name)(answer).passed is False


def test_a_check_leaves_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check.drop_labels(drop_with_where)
    assert torch.equal(torch.rand(3), expected)
