"""Training and checkpoints. Know nothing of guidance, and of data only that they are batches."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import check_count, check_int, check_label, require
from cfg_tutorial.diffusion import drop_labels
from cfg_tutorial.files import (
    as_bytes,
    fits,
    load_tensors,
    progress_bar,
    save_tensors,
    seeded,
    to_json,
)

Batches = Callable[[int], tuple[Tensor, Tensor]]
# Losses that tell whether training diverged: of the first steps, and of a batch in several noises.
NUM_COMPARED, NUM_NOISES = 20, 7
LONGEST = 1_000_003  # steps of a run: what step i of run s draws has the seed s LONGEST + i


def save_checkpoint(path: str | Path, model: nn.Module, config: dict[str, Any]) -> None:
    """Write the model's weights to a safetensors file with ``config`` (JSON) in its metadata."""
    save_tensors(Path(path), model.state_dict(), config)


def load_checkpoint(
    path: str | Path, model: nn.Module, config: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Fill ``model`` with the weights in a file; return the configuration that the file carries.

    Parameters
    ----------
    config : dict, what the file must have been made with; its keys are compared, others ignored,
        and numbers to six digits

    Raises
    ------
    FileNotFoundError : there is no such file
    ValueError : it is damaged, of another configuration, or its weights are of other shapes or
        types or not finite; the model and the file are then as they were
    """
    tensors, found = load_tensors(Path(path))
    wanted = json.loads(to_json(config or {}))
    wrong = {
        key: (found.get(key), value)
        for key, value in wanted.items()
        if not _alike(found.get(key), value)
    }
    mine = model.state_dict()
    if not wrong and _kinds(tensors) != _kinds(mine):
        wrong = {"weights": ("other names, shapes or types", "the model's")}
    # In the model's types: what is finite in 64 bits may not be in 32.
    if not wrong and not are_finite(tensors[name].to(mine[name]) for name in mine):
        wrong = {"weights": ("not finite", "finite ones")}
    said = "; ".join(f"{key}: file {a}, wanted {b}" for key, (a, b) in wrong.items())
    expected, got = (
        "the one that the file was made with",
        f"{path} of another configuration ({said})",
    )
    require(not wrong, "load_checkpoint", "config", expected, got)
    model.load_state_dict(tensors)
    return found


def _alike(one: Any, other: Any) -> bool:
    """Return whether two JSON values agree, numbers to six digits: sums differ in their last."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if fits(one, float) and fits(other, float) and float in (type(one), type(other)):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-7)
    return type(one) is type(other) and one == other


def _kinds(tensors: dict[str, Tensor]) -> dict[str, tuple[Any, ...]]:
    return {
        name: (tuple(tensor.shape), tensor.is_floating_point()) for name, tensor in tensors.items()
    }


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether all numbers of all tensors are finite."""
    real = [tensor for tensor in tensors if tensor.is_floating_point()]
    return all(bool(torch.isfinite(tensor).all()) for tensor in real)


def weights_hash(model: Any) -> str:
    """Return the SHA-256 of the model's parameters and buffers, in hexadecimal; "" if it has none.

    Of numbers alone: the same weights have one hash, whatever module holds them.
    """
    if not isinstance(model, nn.Module):
        return ""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(as_bytes(tensor))
    return digest.hexdigest()


def fit(
    model: nn.Module,
    batches: Batches,
    diffusion: Any,
    *,
    train_steps: int,
    lr: float = 2e-3,
    warmup: int = 100,
    ema: float = 0.998,
    seed: int = 0,
    path: str | Path | None = None,
    config: dict[str, Any] | None = None,
    checkpoint_every: int = 200,
    progress: bool | int = True,
    desc: str = "training",
) -> nn.Module:
    """Train a model in place and leave the exponential moving average of its weights in it.

    Step i draws its batch and its noise from (seed, i) alone, so that a run cut short and taken
    up from its checkpoint ends in the same weights, bit for bit, also of networks with dropout or
    batch norms.

    Parameters
    ----------
    model : module with ``p_uncond`` and ``null_label``, in its first state
    batches : callable, step seed (int) -> x0 (n, *shape), label (n,)
    diffusion : has loss(model, x0, label, generator)
    train_steps : int, AdamW steps; warm-up of ``warmup``, then a cosine to 0
    lr : float, the greatest learning rate
    ema : float, decay of the moving average a step, less in the first steps
    path : file that training is saved to every ``checkpoint_every`` steps and resumed from
    config : dict (JSON) that identifies the run; a file of another one is an error
    progress : draw a text-mode bar with loss and time left; an int is the line to draw it on

    Raises
    ------
    ValueError : a number out of its range, a model with nothing to train or without ``p_uncond``,
        or a checkpoint at ``path`` that is damaged or of another run
    FloatingPointError : data, loss or weights are no longer finite, or the loss ends far above
        where it began; nothing of that is kept

    Lesson: 01_mixtures, where this loop is written out.
    """
    train_steps = check_count(train_steps, "fit", "train_steps")
    require(train_steps <= LONGEST, "fit", "train_steps", f"at most {LONGEST}", train_steps)
    seed, warmup = check_int(seed, "fit", "seed"), check_int(warmup, "fit", "warmup")
    every = check_count(checkpoint_every, "fit", "checkpoint_every")
    require(0 < lr < math.inf, "fit", "lr", "above 0 and finite", lr)
    ok, got = warmup >= 0 and 0 <= ema < 1, f"{warmup}, {ema}"
    require(ok, "fit", "warmup, ema", "warmup >= 0 and 0 <= ema < 1", got)
    dropped = getattr(model, "p_uncond", None)
    expected = "must have p_uncond, the share of labels that training drops"
    require(dropped is not None, "fit", "model", expected, "none: see wrap")
    weights = [p for p in model.parameters() if p.requires_grad]
    require(weights, "fit", "model", "must have weights to train", "none")
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99), fused=True)
    average = [p.detach().clone() for p in weights]
    run = {**(config or {}), "seed": seed, "train_steps": train_steps, "lr": lr, "ema": ema}
    run = json.loads(to_json({**run, "warmup": warmup}))  # an error now, and not after 200 steps
    path = Path(path).expanduser() if path else None
    first, begun, early = _resume(path, run, optimizer, model, average) if path else (0, 0.0, [])

    def typical(x0: Tensor, label: Tensor) -> float:
        """Return the median loss of a batch: the weight of its levels makes any one vary much."""
        noises = [torch.Generator().manual_seed(i) for i in range(NUM_NOISES)]
        model.eval()
        with torch.no_grad():
            losses = [diffusion.loss(model, x0, label, noise).item() for noise in noises]
        model.train()
        return median(losses)

    lucky = True  # until the first step tells whether the model draws from torch's own generator
    model.train()
    bar = progress_bar(range(first, train_steps), train_steps, desc, progress, initial=first)
    for step in bar:
        warm = (step + 1) / max(warmup, 1)
        rate = min(warm, 0.5 + 0.5 * math.cos(math.pi * step / train_steps))
        optimizer.param_groups[0]["lr"] = lr * rate
        step_seed = seed * LONGEST + step
        x0, label = batches(step_seed)
        x0 = x0.to(weights[0].dtype) if x0.is_floating_point() else x0
        if step == first:  # a label for 64 rows would be broadcast without a word
            label = check_label(label, len(x0), model.null_label, "fit")  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(step_seed)
        label = drop_labels(label, dropped, model.null_label, generator)  # type: ignore[arg-type]
        begun = begun if step else typical(x0, label)
        optimizer.zero_grad()
        with seeded(step_seed) if lucky else nullcontext():  # as dropout does
            before = torch.get_rng_state() if step == first else None
            loss = diffusion.loss(model, x0, label, generator)
            loss.backward()
            if before is not None:
                lucky = not torch.equal(before, torch.get_rng_state())
        optimizer.step()
        keep = min(ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in weights], 1 - keep)
        if len(early) < NUM_COMPARED:
            early.append(loss.item())
        last = step + 1 == train_steps
        saves = bool(path) and (step + 1) % every == 0 and not last
        if step % 20 == 0 or saves or last:
            _check_finite(step, x0, loss, [*weights, *average] if saves or last else [])
            bar.set_postfix_str(f"loss {loss.item():.3f}", refresh=False)
        if path and saves:
            about = {**run, "step": step + 1, "begun": begun, "early": early}
            save_tensors(path, _state(optimizer, model, average), about)
    with torch.no_grad():
        for parameter, mean in zip(weights, average, strict=True):
            parameter.copy_(mean)
    if train_steps >= 2 * NUM_COMPARED:
        _check_fallen(begun, median(early) / 5, typical(x0, label))
    return model.eval()


def run_of(step_seed: int) -> int:
    """Return the seed of the training run that a step's seed is of."""
    return step_seed // LONGEST


def _check_finite(step: int, x0: Tensor, loss: Tensor, kept: list[Tensor]) -> None:
    if bool(torch.isfinite(loss)) and are_finite(kept):
        return
    what = "are not finite weights" if torch.isfinite(loss) else f"is a loss of {loss.item()}"
    remedy = "lower lr" if are_finite([x0]) else "mend the data, which are not all finite"
    raise FloatingPointError(f"What step {step} gives {what}: {remedy}.")


def _check_fallen(before: float, *after: float) -> None:
    """Raise an error where the loss rose far above that of the untrained model.

    A learning rate far too high spoils the first steps, and may then come to rest.
    """
    if not max(after) <= 10 * abs(before):
        said = f"The loss rose from {before:.3g} to {max(after):.3g}"
        raise FloatingPointError(f"{said}, so training diverged: lower lr.")


def _state(optimizer: Any, model: nn.Module, average: list[Tensor]) -> dict[str, Tensor]:
    """Return everything that a run needs to go on, by name."""
    weights = [p for p in model.parameters() if p.requires_grad]
    state = {f"buffer.{name}": buffer for name, buffer in model.named_buffers()}
    for i, (weight, mean) in enumerate(zip(weights, average, strict=True)):
        state |= {f"{i}.weight": weight, f"{i}.average": mean}
        state |= {f"{i}.{name}": value for name, value in optimizer.state[weight].items()}
    return state


def _resume(
    path: Path, run: dict[str, Any], optimizer: Any, model: nn.Module, average: list[Tensor]
) -> tuple[int, float, list[float]]:
    """Take up the run saved at ``path``; return the number of steps done, 0 without a file, the
    loss before them, and those of the first steps."""
    if not path.exists():
        return 0, 0.0, []
    state, found = load_tensors(path)
    step, begun, early = (found.pop(name, None) for name in ("step", "begun", "early"))
    weights = [p for p in model.parameters() if p.requires_grad]
    buffers = dict(model.named_buffers())
    fixed: dict[str, Tensor] = {f"{i}.weight": weight for i, weight in enumerate(weights)}
    fixed |= {f"{i}.average": mean for i, mean in enumerate(average)}
    fixed |= {f"buffer.{name}": buffer for name, buffer in buffers.items()}
    for i, weight in enumerate(weights):
        if f"{i}.step" in state:  # a weight that no gradient reaches has none
            fixed |= {f"{i}.step": torch.zeros((), dtype=torch.float32)}
            fixed |= {f"{i}.exp_avg": weight, f"{i}.exp_avg_sq": weight}
    ok = found == run and _kinds(state) == _kinds(fixed)
    ok = ok and type(step) is int and 0 < step < run["train_steps"]
    ok = ok and fits(begun, float) and fits(early, list[float])
    if ok:
        state = {name: tensor.to(fixed[name].dtype) for name, tensor in state.items()}
        ok = are_finite(state.values()) and all(map(math.isfinite, [begun, *early]))
        ok = ok and len(early) == min(step, NUM_COMPARED)
    got = f"{path}, of another configuration ({found}, wanted {run}): delete it,"
    require(ok, "fit", "path", "a checkpoint of this run", got)
    with torch.no_grad():
        for name, buffer in buffers.items():
            buffer.copy_(state[f"buffer.{name}"])
        for i, (weight, mean) in enumerate(zip(weights, average, strict=True)):
            weight.copy_(state[f"{i}.weight"])
            mean.copy_(state[f"{i}.average"])
            names = ("step", "exp_avg", "exp_avg_sq")
            kept = {name: state[f"{i}.{name}"] for name in names if f"{i}.{name}" in state}
            if kept:
                optimizer.state[weight] = kept
    return step, begun, early
