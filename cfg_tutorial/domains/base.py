"""What every domain can do, written once. Knows nothing of points, pixels, words or sounds."""

import abc
import functools
import hashlib
import inspect
import json
import math
import statistics
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from cfg_tutorial import measures, training
from cfg_tutorial.guidance import check_label
from cfg_tutorial.measures import Coverage
from cfg_tutorial.samplers import check_rows, sample_dpmpp_2m

# Two classes that share eight modes and weigh them in opposite order.
SKEWED = [
    [0.30, 0.22, 0.16, 0.11, 0.08, 0.06, 0.04, 0.03],
    [0.03, 0.04, 0.06, 0.08, 0.11, 0.16, 0.22, 0.30],
]


class Batch(NamedTuple):
    """Data: x (n, *shape), label (n,) and mode (n,) of int64."""

    x: Tensor
    label: Tensor
    mode: Tensor


class Domain(abc.ABC):
    """A kind of data with known modes, and the verbs on it.

    A domain of your own supplies the hooks: the attributes name, recipe, diffusion, mode_names
    and class_names, and the methods data, network, exact, assign, features and show.
    ``check_domain`` says what is missing. The verbs (train, pretrained, sample, measure) are the
    same for all and are not overridden.
    """

    name: str
    recipe: ClassVar[dict[str, Any]]  # train_steps, batch_size and what else ``fit`` takes
    diffusion: Any
    mode_names: list[str]
    class_names: list[str]
    sampler: Any = staticmethod(sample_dpmpp_2m)
    num_steps: int = 18  # of that sampler; see benchmarks/samplers.py
    num_threads: ClassVar[int | None] = None  # that training uses; None: torch's own choice
    num_shown: ClassVar[int] = 8  # samples that make a picture
    p_uncond: ClassVar[float] = 0.15
    confusion: Tensor | None = None  # (num_modes, num_modes), of an imperfect reader
    exact_law: Any = None  # (scale, label) -> (num_modes,), where guidance has a closed form
    whole_law: Any = None  # the same of the tilted law of whole samples, where it is another

    def __init__(self, mode_weights: Any):
        weights = torch.as_tensor(mode_weights, dtype=torch.float64)
        ok = (
            weights.ndim == 2 and bool((weights >= 0).all()) and bool(torch.isfinite(weights).all())
        )
        if not ok or (weights.sum(1) - 1).abs().max() > 1e-5:
            raise ValueError(
                "The 'mode_weights' parameter of load must be (num_classes, num_modes), each row "
                f"a law that sums to 1. Got {weights.tolist()} instead."
            )
        self.mode_weights = weights
        self.num_classes: Any
        self.num_classes, self.num_modes = weights.shape
        self.classes = range(self.num_classes)

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

    def sounds(self, x: Tensor) -> list[bytes]:
        """Return each sample as a 16-bit WAV file; nothing, where samples make no sound."""
        return []

    def read_modes(self, x: Tensor) -> list[str]:
        """Return the name of the mode of each x (n, *shape), "invalid" where it belongs to none."""
        return [self.mode_names[k] if k >= 0 else "invalid" for k in self.assign(x)]

    def extra_measures(self, x: Tensor, label: int) -> dict[str, float]:
        """Return measures that only this domain has, of samples of one class."""
        return {}

    def training_batch(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return what a training step sees: x (n, *shape) and labels, before label dropout."""
        batch = self.data(n, seed, stratified=True)
        return batch.x, batch.label

    @property
    def file_name(self) -> str:
        """The name that the domain's weights are kept under."""
        return self.name

    def config(self) -> dict[str, Any]:
        """Return what a checkpoint must agree on: JSON values."""
        return {
            "domain": self.name,
            "mode_names": self.mode_names,
            "mode_weights": self.mode_weights.tolist(),
            "p_uncond": self.p_uncond,
            "diffusion": {**vars(self.diffusion)},
        }

    # Helpers for hooks.

    @staticmethod
    def generator(seed: int, held_out: bool = False) -> torch.Generator:
        """Return a generator; held-out draws never share a seed with training draws."""
        return torch.Generator().manual_seed(2 * seed + held_out)

    def draw_modes(
        self, n: int, generator: torch.Generator, stratified: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return label (n,) and mode (n,); stratified: in their exact shares, as n allows."""
        if n < 1:
            raise ValueError(f"The 'n' parameter of data must be an int >= 1. Got {n} instead.")
        joint = (self.mode_weights / len(self.classes)).flatten()
        offset = torch.rand(1 if stratified else n, generator=generator, dtype=torch.float64)
        points = (torch.arange(n) + offset) / n if stratified else offset
        cell = torch.searchsorted(joint.cumsum(0), points).clamp(max=len(joint) - 1)
        cell = cell[torch.randperm(n, generator=generator)]
        return cell // self.num_modes, cell % self.num_modes

    # Verbs.

    def model(self) -> nn.Module:
        """Return the domain's network as a model, not trained."""
        return self.diffusion.model(
            self.network(), num_classes=self.num_classes, p_uncond=self.p_uncond
        )

    def pretrained(self) -> nn.Module:
        """Return the model that ships with the package (training seed 0).

        Raises
        ------
        ValueError : the domain was loaded with other weights than the checkpoint's: train instead
        """
        model = self.model()
        training.load_checkpoint(
            training.data_path(f"{self.file_name}.safetensors"), model, self.config()
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
        run = {**self.config(), "recipe": recipe, "seed": seed}
        key = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:12]
        folder = Path(folder) if folder else training.cache_folder()
        path = folder / f"{self.file_name}-seed{seed}-{key}.safetensors"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.model()
        if path.exists():
            training.load_checkpoint(path, model, run)
            return model.eval()
        options = {name: value for name, value in recipe.items() if name != "batch_size"}

        def batches(step_seed: int) -> tuple[Tensor, Tensor]:
            return self.training_batch(recipe["batch_size"], step_seed)

        partial = path.with_suffix(".training")
        with training.threads(self.num_threads):
            training.fit(
                model,
                batches,
                self.diffusion,
                seed=seed,
                path=partial,
                config=run,
                progress=progress,
                desc=f"{self.name}, seed {seed}",
                **options,
            )
        training.save_checkpoint(path, model, run)
        partial.unlink(missing_ok=True)
        return model

    def sample(
        self,
        model: Any,
        label: Any,
        n: int | None = None,
        num_steps: int | None = None,
        seed: int = 0,
        sampler: Any = None,
        rows: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        progress: bool | int = True,
    ) -> Tensor:
        """Return samples of a model, guided or not: (n, *shape).

        Parameters
        ----------
        model : callable (x, level, label)
        label : int with n, or Tensor (n,) of int; where a label has k parts, (k,) with n, or
            (n, k), or classes as above, which leave the other parts null
        num_steps : int, before the levels where the model jumps are added to the grid
        sampler : the domain's own unless given
        rows : Tensor (n,) of int, identities of the rows, arange(n) unless given; a row's noise is
            a function of (seed, row, step) alone

        Raises
        ------
        ValueError : no rows, a label that the model does not know, or n and label that disagree
        """
        states, total = self.states(model, label, n, num_steps, seed, sampler, rows, dtype)
        bar = f"{self.name}, sampling"
        for state in training.progress_bar(states, total, bar, progress, delay=2):
            x = state
        return x

    def states(
        self,
        model: Any,
        label: Any,
        n: int | None = None,
        num_steps: int | None = None,
        seed: int = 0,
        sampler: Any = None,
        rows: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Iterator[Tensor], int]:
        """Return the states (n, *shape) after each step, the last a sample, and their number.

        Takes what ``sample`` takes; nothing runs before the first state is asked for.
        """
        label, null = torch.as_tensor(label), torch.as_tensor(model.null_label)
        whole = label.ndim > null.ndim  # one label a row, not one for all
        if null.ndim and label.ndim < 2 and label.shape != null.shape:  # classes alone
            label, whole = _with_nulls(label, null), label.ndim > 0
        n = n if n is not None else (len(label) if whole else 1)
        if n < 1:
            raise ValueError(f"The 'n' parameter of sample must be an int >= 1. Got {n} instead.")
        label = check_label(label, n, model.null_label, "sample")
        rows = check_rows(rows, n, "sample")
        sampler = sampler or self.sampler
        like = torch.empty(0, dtype=dtype)
        num_steps = self.num_steps if num_steps is None else num_steps
        levels = self.diffusion.levels(num_steps, getattr(model, "edges", ()), dtype)
        x = self.diffusion.noise(self.shape, seed, rows, like)
        takes_noise = {"seed": seed, "rows": rows} if _takes_noise(sampler) else {}
        return sampler(model, x, levels, label, **takes_noise), len(levels) - 1

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.data(1).x.shape[1:])

    def measure(self, x: Tensor, label: Any) -> Coverage:
        """Return what samples x (n, *shape) of ``label`` measure: per class, then the mean.

        Parameters
        ----------
        label : int, or Tensor (n,) of int below num_classes

        Raises
        ------
        ValueError : no samples, or a label that is no class

        Warns
        -----
        UserWarning : fewer than 10 samples a mode of the domain; what needs them is NaN
        """
        if len(x) == 0:
            raise ValueError(
                f"The 'x' parameter of measure must have rows. Got shape {tuple(x.shape)} instead."
            )
        label = check_label(label, len(x), len(self.classes) - 1, "measure")
        needed = 10 * self.num_modes
        if len(x) < needed:
            warnings.warn(
                f"Mode coverage of {self.name} needs at least {needed} samples (10 a mode). "
                f"Got {len(x)}: it is NaN.",
                stacklevel=2,
            )
        mode = self.assign(x)
        classes = label.unique().tolist()
        each = [
            self._measure_class(x[label == c], mode[label == c], c, len(x) >= needed)
            for c in classes
        ]
        if len(each) == 1:
            return each[0]
        mean = {
            name: statistics.fmean(getattr(one, name) for one in each)
            for name in Coverage.__dataclass_fields__
            if name not in ("mode_counts", "extra")
        }
        extra = {name: statistics.fmean(one.extra[name] for one in each) for name in each[0].extra}
        return Coverage(
            **mean, mode_counts=torch.stack([one.mode_counts for one in each]), extra=extra
        )

    def _measure_class(self, x: Tensor, mode: Tensor, label: int, enough: bool) -> Coverage:
        nan = math.nan
        counts = measures.correct_counts(measures.count_modes(mode, self.num_modes), self.confusion)
        weights, valid = self.mode_weights[label], mode >= 0
        extra = self.extra_measures(x, label)
        if not valid.any():
            return Coverage(0.0, nan, nan, nan, nan, nan, nan, counts, extra)
        alignment = measures.alignment(counts, self.mode_weights, label)
        if not enough:
            return Coverage(
                measures.validity(mode), alignment, nan, nan, nan, nan, nan, counts, extra
            )
        real, real_label, real_mode, width = self._held_out
        own = real[real_label == label][:1000]
        features = self.features(x[valid])
        return Coverage(
            validity=measures.validity(mode),
            alignment=alignment,
            mode_coverage=measures.mode_coverage(counts, weights),
            captured_mass=measures.captured_mass(counts, weights),
            effective_modes=measures.effective_modes(counts),
            spread=measures.spread(features, mode[valid], real, real_mode),
            kernel_distance=measures.kernel_distance(features, own, width)
            if valid.sum() > 1
            else nan,
            mode_counts=counts,
            extra=extra,
        )

    @functools.cached_property
    def _held_out(self) -> tuple[Tensor, Tensor, Tensor, float]:
        """Held-out features (n, d), labels (n,), modes (n,), and their median distance."""
        batch = self.data(2000 * len(self.classes), seed=1, held_out=True)
        features, label = self.features(batch.x), batch.label
        width = torch.pdist(features[:500].float()).median().item()
        label = label if label.ndim == 1 else label[:, 0]
        return features, label, self.assign(batch.x), width

    def tilted_law(self, scale: float, label: int) -> Tensor:
        """Return the modes' law p(mode | label)^scale p(mode)^(1 - scale): (num_modes,)."""
        return measures.tilted_law(self.mode_weights, scale, label)


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


def _with_nulls(label: Tensor, null: Tensor) -> Tensor:
    """Return classes, () or (n,), as labels of k parts, the others null: (k,) or (n, k)."""
    return torch.cat([label[..., None], null[1:].expand(*label.shape, -1)], -1)


def _takes_noise(sampler: Any) -> bool:
    return "rows" in inspect.signature(sampler).parameters


def check_domain(domain: Domain) -> list[str]:
    """Run the contract on a domain, your own too; return the names of the checks that it passed.

    Needs no training. Takes seconds.

    Raises
    ------
    ValueError : the first promise that the domain breaks, and what was expected
    """
    passed = []

    def check(name: str, ok: bool, expected: str) -> None:
        if not ok:
            raise ValueError(
                f"The domain {domain.name!r} fails the check '{name}': expected {expected}."
            )
        passed.append(name)

    k, weights = domain.num_modes, domain.mode_weights
    check(
        "weights are laws",
        bool(torch.allclose(weights.sum(1), weights.new_ones(()))),
        "rows that sum to 1",
    )
    named = len(domain.mode_names) == k and len(domain.class_names) == len(domain.classes)
    check("modes and classes have names", named, "one name a mode and one a class")

    batch = domain.data(400, seed=0)
    again, other, fresh = (
        domain.data(400, seed=0),
        domain.data(400, seed=1),
        domain.data(400, held_out=True),
    )
    shapes = len(batch.x) == len(batch.label) == 400 and batch.mode.shape == (400,)
    check("data have rows", shapes, "x (n, *shape), label (n,), mode (n,)")
    in_range = bool(
        (batch.label < torch.as_tensor(domain.num_classes)).all()
        and (batch.mode < k).all()
        and (batch.mode >= 0).all()
    )
    check("labels and modes in range", in_range, "classes and modes counted from 0")
    check(
        "same seed, same data", torch.equal(batch.x, again.x), "data to be a function of the seed"
    )
    check(
        "other seed, other data", not torch.equal(batch.x, other.x), "data to differ with the seed"
    )
    check("held-out data differ", not torch.equal(batch.x, fresh.x), "held-out data of their own")

    read = domain.assign(fresh.x)
    check(
        "real data are valid",
        (read >= 0).double().mean().item() > 0.9,
        "at least .9 of them with a mode",
    )
    right = (read == fresh.mode)[read >= 0].double().mean().item()
    check("modes are read", right > 0.85, "at least .85 of real data read as the mode they are")
    features = domain.features(batch.x)
    check("features", features.ndim == 2 and len(features) == 400, "a matrix (n, d)")

    for name, model in {"exact": domain.exact(), "network": domain.model().eval()}.items():
        label, level = batch.label[:6], domain.diffusion.levels(4)[1]
        x = domain.diffusion.corrupt(batch.x[:6], level, domain.generator(0))
        nothing = torch.as_tensor(model.null_label).expand_as(label)
        with torch.no_grad():
            whole, part = model(x, level, label), model(x[:3], level, label[:3])
            null = model(x, level, nothing)
        sound = all(domain.diffusion.is_prediction(answer, x) for answer in (whole, null))
        check(f"{name}: is a model", sound, "(x, level, label) -> prediction, finite, of x's shape")
        check(
            f"{name}: rows are independent",
            bool(torch.allclose(whole[:3], part, atol=1e-4)),
            "no mixing of rows",
        )

    model, n = domain.exact(), max(10 * k, 200)
    for c in domain.classes:
        x = domain.sample(model, label=c, n=n, seed=0, progress=False)
        first = domain.sample(model, label=c, n=3, seed=0, progress=False)
        check(
            f"class {c}: a sample ignores its batch",
            bool(torch.allclose(x[:3], first, atol=1e-3)),
            "row i alone",
        )
        found = domain.measure(x, c)
        check(f"class {c}: exact samples are valid", found.validity > 0.9, "validity above .9")
        low = measures.perfect_band(weights[c], n, quantiles=(0.0005, 0.9995))["captured_mass"][0]
        check(
            f"class {c}: exact samples follow the law",
            found.captured_mass > low - 0.05,
            f"captured mass above {low - 0.05:.3f}",
        )
    shown = domain.show(x[:4])
    drawn = hasattr(shown, "savefig") and bool(shown.axes)
    check("show", drawn, "a matplotlib figure with axes (a notebook shows none without)")
    return passed
