"""What every domain can do, written once. Knows nothing of points, pixels, words or sounds."""

import abc
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from cfg_tutorial import files, training
from cfg_tutorial.arguments import (
    check_count,
    check_int,
    check_label,
    check_law,
    check_rows,
    check_scale,
    check_tensor,
    require,
)
from cfg_tutorial.domains.measured import Measured
from cfg_tutorial.guidance import guided
from cfg_tutorial.keys import Unkeyed, is_ours, key_of
from cfg_tutorial.models import tilted_law, wrap
from cfg_tutorial.samplers import evaluated, sample_dpmpp_2m

# Two classes that share eight modes and weigh them in opposite order.
SKEWED = [
    [0.30, 0.22, 0.16, 0.11, 0.08, 0.06, 0.04, 0.03],
    [0.03, 0.04, 0.06, 0.08, 0.11, 0.16, 0.22, 0.30],
]

# A mode keeps its colour in every picture; the colour-blind tell them apart.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#B8A800", "#555555"]
INVALID = "#999999"  # the colour of what belongs to no mode


class Batch(NamedTuple):
    """Data: x (n, *shape), label (n,) and mode (n,) of int64."""

    x: Tensor
    label: Tensor
    mode: Tensor


# The hooks by which a domain is known, as its class has them or as they were put on it.
HOOKS = ["data", "network", "exact", "assign", "features", "reader_errors", "extra_measures"]


class Domain(Measured, abc.ABC):
    """A kind of data with known modes, and the verbs on it.

    A domain of your own supplies the hooks: the attributes name, recipe, diffusion, mode_names and
    class_names, and the methods data, network, exact, assign, features and show. It may set the
    other attributes below and supply the optional hooks, which say nothing here. ``check_domain``
    says what is missing. The verbs (train, pretrained, sample, measure, ...) are the same for all
    and are not overridden.
    """

    name: str
    recipe: dict[str, Any]  # train_steps, batch_size and what else ``fit`` takes
    diffusion: Any
    mode_names: list[str]
    class_names: list[str]
    sampler: Any = staticmethod(sample_dpmpp_2m)
    num_steps: int = 18  # of that sampler; see benchmarks/samplers.py
    num_threads: ClassVar[int | None] = None  # that training uses; None: torch's own choice
    num_shown: int = 8  # samples that make a picture
    p_uncond: ClassVar[float] = 0.15

    def __init__(self, mode_weights: Any):
        expected = "(num_classes, num_modes), each row a law that sums to 1"
        self.mode_weights = check_law(mode_weights, "load", "mode_weights", expected)
        self.num_classes: Any
        self.num_classes, self.num_modes = self.mode_weights.shape
        self.classes = range(self.num_classes)
        self.file_name: str = self.name  # that the domain's weights are kept under
        self.options: dict[str, Any] = {}  # what else a checkpoint must agree on: JSON values
        # Laws of modes in closed form that stand beside a curve: (scale, label) -> (num_modes,).
        self.laws: dict[str, Callable[[float, int], Tensor]] = {"tilted": self.tilted_law}

    # Hooks: what a domain supplies.

    @abc.abstractmethod
    def data(
        self, n: int, seed: int = 0, held_out: bool = False, stratified: bool = False
    ) -> Batch:
        """Return n samples of the data, classes equally likely; stratified: in exact proportion."""

    @abc.abstractmethod
    def network(self) -> nn.Module:
        """Return a fresh network, as ``diffusion.model`` takes it."""

    @abc.abstractmethod
    def exact(self) -> Any:
        """Return the exact model: no training."""

    @abc.abstractmethod
    def assign(self, x: Tensor) -> Tensor:
        """Return the mode of each x (n,), -1 where it belongs to none or is not finite."""

    @abc.abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Return what spread and kernel_distance compare: (n, d)."""

    @abc.abstractmethod
    def show(self, x: Tensor, label: Any = None) -> Any:
        """Return a matplotlib figure of the samples."""

    # Optional hooks.

    def training_batch(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return what a training step sees: x (n, *shape) and labels, before label dropout."""
        batch = self.data(n, seed, stratified=True)
        return batch.x, batch.label

    def reader_errors(self) -> Tensor | None:
        """Return how modes are read, (num_modes, num_modes), row the true mode; None: rightly."""
        return None

    def extra_measures(self, x: Tensor, label: int) -> dict[str, float]:
        """Return measures that only this domain has, of samples of one class."""
        return {}

    def sounds(self, x: Tensor) -> list[bytes]:
        """Return each sample as a 16-bit WAV file; nothing, where samples make no sound."""
        return []

    # Verbs.

    def read_modes(self, x: Tensor) -> list[str]:
        """Return the name of the mode of each x (n, *shape), "invalid" where it belongs to none."""
        return [self.mode_names[k] if k >= 0 else "invalid" for k in self.assign(x)]

    def colour(self, mode: int) -> str:
        """Return the colour of a mode, -1 for what belongs to none."""
        return COLOURS[mode % len(COLOURS)] if mode >= 0 else INVALID

    def config(self) -> dict[str, Any]:
        """Return what a checkpoint must agree on: JSON values."""
        return {
            "domain": self.name,
            "mode_names": self.mode_names,
            "mode_weights": self.mode_weights.tolist(),
            "p_uncond": self.p_uncond,
            "diffusion": {**vars(self.diffusion)},
            **self.options,
        }

    @staticmethod
    def generator(seed: int, held_out: bool = False) -> torch.Generator:
        """Return a generator; held-out draws never share a seed with training draws."""
        return torch.Generator().manual_seed(2 * seed + held_out)

    def draw_modes(
        self, n: int, generator: torch.Generator, stratified: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return label (n,) and mode (n,); stratified: in their exact shares, as n allows."""
        check_count(n, "data", "n")
        joint = (self.mode_weights / len(self.classes)).flatten()
        offset = torch.rand(1 if stratified else n, generator=generator, dtype=torch.float64)
        points = (torch.arange(n) + offset) / n if stratified else offset
        cell = torch.searchsorted(joint.cumsum(0), points).clamp(max=len(joint) - 1)
        cell = cell[torch.randperm(n, generator=generator)]
        return cell // self.num_modes, cell % self.num_modes

    def model(self) -> nn.Module:
        """Return the domain's network as a model, not trained."""
        about = {"num_classes": self.num_classes, "p_uncond": self.p_uncond}
        return wrap(self.network().float(), **self.diffusion.convention, **about)

    def pretrained(self) -> nn.Module:
        """Return the model that ships with the package (training seed 0).

        Raises
        ------
        ValueError : the domain was loaded with other weights than the checkpoint's: train instead
        """
        model = self.model()
        training.load_checkpoint(
            files.data_path(f"{self.file_name}.safetensors"), model, self.config()
        )
        return model.eval()

    def train(
        self,
        seed: int = 0,
        train_steps: int | None = None,
        folder: str | Path | None = None,
        progress: bool | int = True,
        **recipe: Any,
    ) -> nn.Module:
        """Return a model trained from ``seed``; kept on disk, taken up where it was cut short.

        Parameters
        ----------
        train_steps : int, the domain's own number unless given
        folder : where weights are kept, by configuration; ``cache_folder()`` unless given
        recipe : what else ``fit`` takes, and batch_size, in place of the domain's own
        """
        recipe = {**self.recipe, **recipe}
        if train_steps is not None:
            recipe["train_steps"] = train_steps
        model = self.first_model(seed)
        options = {name: value for name, value in recipe.items() if name != "batch_size"}
        options |= {"seed": seed, "progress": progress, "desc": f"{self.name}, seed {seed}"}

        def batches(step_seed: int) -> tuple[Tensor, Tensor]:
            return self.training_batch(recipe["batch_size"], step_seed)

        try:
            made_by = {"data": self.key(), "network": key_of(model)}
            run = {**self.config(), "recipe": recipe, "seed": seed, **made_by}
            key = key_of(run)[:12]
        except Unkeyed as error:
            warnings.warn(
                f"{self.name} is trained, and not kept: {error} has no key.", stacklevel=2
            )
            with files.threads(self.num_threads):
                return training.fit(model, batches, self.diffusion, **options)
        folder = Path(folder).expanduser() if folder else files.cache_folder()
        path = folder / f"{self.file_name}-seed{seed}-{key}.safetensors"
        partial = path.with_suffix(".training")
        with files.locked(path):  # one training at a time: others then find it done
            if path.exists():
                training.load_checkpoint(path, model, run)
                return model.eval()
            with files.threads(self.num_threads):
                training.fit(model, batches, self.diffusion, path=partial, config=run, **options)
            training.save_checkpoint(path, model, run)
            partial.unlink(missing_ok=True)
        return model

    def first_model(self, seed: int) -> nn.Module:
        """Return the domain's network as a model, in the state in which training it begins."""
        with files.seeded(seed):
            return self.model()

    def key(self) -> str:
        """Return a hash of what makes the domain's data, its network and what is read of samples.

        A domain of one's own is known by its code, what it holds and a sample of its data.

        Raises
        ------
        Unkeyed : it holds what no key can be made of, such as an open file
        """
        hooks = [getattr(type(self), name, None) for name in HOOKS]
        # Its batches are known by the class's code, or by one of them, unless put on it too.
        put_on = {n: v for n, v in vars(self).items() if n in (*HOOKS, "training_batch")}
        stated = {name: getattr(self, name, None) for name in self.options}
        parts: list[Any] = [self.config(), hooks, put_on, type(self.diffusion), stated]
        if not is_ours(type(self)):
            with files.threads(1):  # sums in another order differ in their last bit
                parts += [self, self.training_batch(256, 0)]
        return key_of(parts)

    def sample(
        self,
        model: Any,
        label: Any,
        n: int | None = None,
        num_steps: int | None = None,
        seed: int = 0,
        sampler: Any = None,
        rows: Tensor | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
        progress: bool | int = True,
    ) -> Tensor:
        """Return samples of a model, guided or not: (n, *shape).

        Parameters
        ----------
        model : callable (x, level, label)
        label : int with n, or Tensor (n,) of int; where a label has k parts, (n, k), or (k,) with
            n, or classes as above, which leave the other parts null
        num_steps : int, before the levels where the model jumps are added to the grid
        sampler : the domain's own unless given
        rows : Tensor (n,) of int, identities of the rows, arange(n) unless given; a row's noise is
            a function of (seed, row, step) alone
        device, dtype : where and in what type to compute, the model's own unless given
        progress : draw a bar; an int is the line to draw it on

        Raises
        ------
        ValueError : no rows, a label that the model does not know, or n and label that disagree
        """
        how = (num_steps, seed, sampler, rows, dtype, device)
        return self._last(*self.states(model, label, n, *how), progress)

    def states(
        self,
        model: Any,
        label: Any,
        n: int | None = None,
        num_steps: int | None = None,
        seed: int = 0,
        sampler: Any = None,
        rows: Tensor | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> tuple[Iterator[Tensor], int]:
        """Return the states (n, *shape) after each step, the last a sample, and their number.

        Takes what ``sample`` takes; nothing runs before the first state is asked for.
        """
        null = self._null(model)
        label = _whole(label, n, null, "sample")
        n = n if n is not None else (len(label) if label.ndim > null.ndim else 1)
        check_count(n, "sample", "n")
        label, seed = check_label(label, n, null, "sample"), check_int(seed, "sample", "seed")
        rows = check_rows(rows, n, "sample")
        sampler = sampler or self.sampler
        like = _like(model, device, dtype)
        steps = self.num_steps if num_steps is None else num_steps
        num_steps = check_int(steps, "sample", "num_steps")
        levels = self.diffusion.levels(num_steps, getattr(model, "edges", ()), like.dtype)
        x = self.diffusion.noise(self.shape, seed, rows, like)
        known, given = {"seed": seed, "rows": rows}, inspect.signature(sampler).parameters
        takes = {name: value for name, value in known.items() if name in given}
        states = sampler(model, x, levels, label, **takes)
        if not getattr(sampler, "evaluates", False):  # a sampler of one's own
            states = evaluated(model, iter(states))
        return states, len(levels) - 1

    def at_scales(
        self, model: Any, scales: Sequence[float], n: int, *, progress: Any = True, **how: Any
    ) -> Tensor:
        """Return samples at each guidance scale, from the same noise: (len(scales), n, *shape).

        Parameters
        ----------
        n : int, samples per scale
        label : int or Tensor (n,) of int, 0 unless given
        method : (model, scales (m,)) -> model, ``guided`` unless given
        how : what else ``sample`` takes; rows (n,) are those of each scale
        """
        states, total = self.states_at_scales(model, scales, n, **how)
        return self._last(states, total, progress)

    def states_at_scales(
        self,
        model: Any,
        scales: Sequence[float],
        n: int,
        label: Any = 0,
        method: Callable[[Any, Tensor], Any] = guided,
        rows: Tensor | None = None,
        **how: Any,
    ) -> tuple[Iterator[Tensor], int]:
        """Return what ``states`` does for all scales in one run: (len(scales), n, *shape) each."""
        null, n = self._null(model), check_count(n, "at_scales", "n")
        scale = check_scale(scales, "scales", "at_scales").to(torch.get_default_dtype())
        ok, k = scale.ndim == 1 and len(scale), scale.numel()
        require(ok, "at_scales", "scales", "one number or more, in a list", scales)
        label = check_label(_whole(label, n, null, "at_scales"), n, null, "at_scales")
        rows = check_rows(rows, n, "at_scales").repeat(k)
        label = label.repeat(k, *[1] * (label.ndim - 1))
        guided_model = method(model, scale.repeat_interleave(n))
        states, total = self.states(guided_model, label, rows=rows, **how)
        return (x.unflatten(0, (k, n)) for x in states), total

    def _null(self, model: Any) -> Tensor:
        """Return a model's null label; a plain function is taken to have the domain's."""
        return torch.as_tensor(getattr(model, "null_label", self.num_classes))

    def _last(self, states: Iterator[Tensor], total: int, progress: Any) -> Tensor:
        bar = f"{self.name}, sampling"
        for state in files.progress_bar(states, total, bar, progress, delay=2):
            x = state
        lost = int((~torch.isfinite(x.flatten(1))).any(1).sum()) if x.is_floating_point() else 0
        if lost:
            what = "a scale too large, or a model that is broken"
            warnings.warn(f"{lost} of {len(x)} samples are not finite: {what}.", stacklevel=3)
        return x

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.data(1).x.shape[1:])

    def tilted_law(self, scale: float, label: int) -> Tensor:
        """Return the modes' law p(mode | label)^scale p(mode)^(1 - scale): (num_modes,)."""
        return tilted_law(self.mode_weights, scale, label)


def together(parts: Iterable[Tensor], n: int) -> Tensor:
    """Return parts (m, ...) one after the other, (n, ...), each copied as soon as it is made.

    Kept in a list, small results between the large tensors that they are made of hold the memory
    of these: 8,000 clips took half a gigabyte.
    """
    at, whole = 0, torch.empty(0)
    for part in parts:
        whole = whole if at else part.new_empty(n, *part.shape[1:])
        whole[at : at + len(part)] = part
        at += len(part)
    return whole


def _whole(label: Any, n: int | None, null: Tensor, where: str) -> Tensor:
    """Return labels with all their parts, those not given null: one, or one per row.

    Where a label has k parts, (k,) with n is one label, and otherwise a class for each row.

    Raises
    ------
    ValueError : k labels for n = k rows, which could be either
    """
    label = check_tensor(label, where, "label", f"integers from 0 to {null.tolist()}")
    if not null.ndim or label.ndim > 1:
        return label
    one = label.shape == null.shape and n is not None
    expected = f"(n, {len(null)}) where it could be a class a row or the parts of one label"
    require(not (one and n == len(label)), where, "label", expected, lambda: label.tolist())
    if one:
        return label
    return torch.cat([label[..., None], null[1:].expand(*label.shape, -1)], -1)


def _like(model: Any, device: Any, dtype: torch.dtype | None) -> Tensor:
    """Return an empty tensor where a model's weights are, and of their type, unless told.

    What has no weights to learn computes in the type of x: float32.
    """
    states = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    learned = [p.dtype for p in model.parameters()] if states else []
    device = device or (states[0].device if states else None)
    return torch.empty(0, dtype=dtype or (learned[0] if learned else torch.float32), device=device)
