"""Training and checkpoints. Know nothing of guidance, and of data only that they are batches."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from cfg_tutorial.diffusion import drop_labels

Batches = Callable[[int], tuple[Tensor, Tensor]]


def data_path(name: str, folder: str = "data") -> Path:
    """Return the path of a shipped file, in the wheel or in the source tree."""
    package = Path(__file__).parent
    inside = package / folder / name
    return inside if inside.exists() else package.parent / folder / name


def progress_bar(
    states: Iterable | None, total: int, desc: str, progress: bool | int, **options: Any
) -> Any:
    """Return a text-mode tqdm bar; progress is False for none, True, or the line it is drawn on."""
    line = None if isinstance(progress, bool) else progress
    return tqdm(
        states,
        total=total,
        desc=desc,
        disable=progress is False,
        position=line,
        leave=options.pop("leave", line is None),
        ascii=True,
        ncols=78,
        mininterval=0.5,
        **options,
    )


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch use a number of threads inside, None its own choice.

    Small networks need one: two on a busy machine wait for each other, up to 80 times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def version() -> str:
    """Return the package's version, as checkpoints and results name it."""
    return metadata.version("cfg-tutorial")


def cache_folder() -> Path:
    """Return where trained weights are kept: $CFG_TUTORIAL_CACHE, or one in the home folder."""
    named = os.environ.get("CFG_TUTORIAL_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "cfg_tutorial"


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes ``path`` when all went well, and nothing otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with replaced(path) as partial:
        partial.write_bytes(content)


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write a safetensors file, with what it is about (JSON), whole or not at all."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with replaced(path) as partial:
        save_file(contiguous, partial, metadata={"config": json.dumps(about, sort_keys=True)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the configuration of a file, or raise a ValueError that names it."""
    if not path.is_file():
        raise FileNotFoundError(f"No checkpoint at {path}. Train one with domain.train().")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["config"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"The 'path' parameter of load_checkpoint must be a whole checkpoint of this package, "
            f"a safetensors file with its configuration inside. Got {path}, which is not: {error}."
        ) from error


def save_checkpoint(path: str | Path, model: nn.Module, config: dict[str, Any]) -> None:
    """Write the model's weights to a safetensors file with ``config`` (JSON) in its metadata."""
    save_tensors(Path(path), model.state_dict(), config)


def load_checkpoint(
    path: str | Path, model: nn.Module, config: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Fill ``model`` with the weights in a file; return the configuration that the file carries.

    Parameters
    ----------
    config : dict, what the file must have been made with; its keys are compared, others ignored

    Raises
    ------
    FileNotFoundError : there is no such file
    ValueError : it is truncated, not safetensors, or of another configuration; the model and the
        file are then as they were
    """
    tensors, found = load_tensors(Path(path))
    wanted = json.loads(json.dumps(config or {}))
    wrong = {
        key: (found.get(key), value) for key, value in wanted.items() if found.get(key) != value
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if not wrong and shapes != {n: tuple(t.shape) for n, t in model.state_dict().items()}:
        wrong = {"weights": ("other names or shapes", "the model's")}
    if wrong:
        said = "; ".join(f"{key}: file {a}, wanted {b}" for key, (a, b) in wrong.items())
        raise ValueError(
            "The 'config' parameter of load_checkpoint must be the one that the file was made "
            f"with. Got {path} of another configuration instead ({said})."
        )
    model.load_state_dict(tensors)
    return found


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 of the model's parameters and buffers, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
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
    up from its checkpoint ends in the same weights, bit for bit.

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
    ValueError : train_steps < 1, or a checkpoint at ``path`` that is damaged or of another run
    FloatingPointError : the loss is no longer finite

    Lesson: 01_mixtures, where this loop is written out.
    """
    if train_steps < 1:
        raise ValueError(
            f"The 'train_steps' parameter of fit must be an int >= 1. Got {train_steps} instead."
        )
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99), fused=True)
    weights = [p for p in model.parameters() if p.requires_grad]
    average = [p.detach().clone() for p in weights]
    run = {**(config or {}), "seed": seed, "train_steps": train_steps, "lr": lr, "ema": ema}
    run["warmup"] = warmup
    first = _resume(path, run, optimizer, weights, average) if path else 0
    model.train()
    bar = progress_bar(range(first, train_steps), train_steps, desc, progress, initial=first)
    for step in bar:
        rate = min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / train_steps))
        optimizer.param_groups[0]["lr"] = lr * rate
        step_seed = seed * 1_000_003 + step
        x0, label = batches(step_seed)
        generator = torch.Generator().manual_seed(step_seed)
        label = drop_labels(label, model.p_uncond, model.null_label, generator)  # type: ignore[arg-type]
        loss = diffusion.loss(model, x0, label, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        keep = min(ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in weights], 1 - keep)
        saves = bool(path) and (step + 1) % checkpoint_every == 0 and step + 1 < train_steps
        if step % 20 == 0 or saves or step + 1 == train_steps:
            if not torch.isfinite(loss):
                raise FloatingPointError(f"The loss of step {step} is {loss.item()}: lower lr.")
            bar.set_postfix_str(f"loss {loss.item():.3f}", refresh=False)
        if path and saves:
            save_tensors(Path(path), _state(optimizer, weights, average), {**run, "step": step + 1})
    with torch.no_grad():
        for parameter, mean in zip(weights, average, strict=True):
            parameter.copy_(mean)
    return model.eval()


def _state(optimizer: Any, weights: list, average: list) -> dict[str, Tensor]:
    """Return everything that a run needs to go on, by name."""
    state: dict[str, Tensor] = {}
    for i, (weight, mean) in enumerate(zip(weights, average, strict=True)):
        state |= {f"{i}.weight": weight, f"{i}.average": mean}
        state |= {f"{i}.{name}": value for name, value in optimizer.state[weight].items()}
    return state


def _resume(
    path: str | Path, run: dict[str, Any], optimizer: Any, weights: list, average: list
) -> int:
    """Take up the run saved at ``path``; return the number of steps done, 0 without a file."""
    if not Path(path).exists():
        return 0
    state, found = load_tensors(Path(path))
    step = found.pop("step", 0)
    shapes = {name: tuple(t.shape) for name, t in state.items() if name.endswith(".weight")}
    wanted = {f"{i}.weight": tuple(weight.shape) for i, weight in enumerate(weights)}
    if found != json.loads(json.dumps(run)) or shapes != wanted:
        raise ValueError(
            f"The 'path' parameter of fit must be a checkpoint of this run. Got {path}, of "
            f"another configuration: {found} instead of {run}."
        )
    with torch.no_grad():
        for i, (weight, mean) in enumerate(zip(weights, average, strict=True)):
            weight.copy_(state[f"{i}.weight"])
            mean.copy_(state[f"{i}.average"])
            names = ("step", "exp_avg", "exp_avg_sq")
            kept = {name: state[f"{i}.{name}"] for name in names if f"{i}.{name}" in state}
            if kept:  # a weight that no gradient reaches has none
                optimizer.state[weight] = kept
    return step
