"""Sound as spectrograms and back, players, and a folder of your own. Knows nothing of notes."""

import html
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cfg_tutorial.diffusion import Gaussian
from cfg_tutorial.domains.base import Batch, Domain
from cfg_tutorial.domains.mixtures import COLOURS, GaussianMixture
from cfg_tutorial.networks import MLP
from cfg_tutorial.training import replaced

RATE, LENGTH = 8_000, 8_192  # samples a second, samples a clip (1.024 s)
N_FFT, HOP = 512, 128
FRAMES = LENGTH // HOP
FLOOR, REFERENCE = 40.0, 32.0  # dB shown below a spectrogram's 1, and the amplitude there
NUM_COMPONENTS = 32
LEVEL, PEAK = 0.1, 0.99  # root mean square of what is played, and the most that a sample may be

SILENT = 1e-4  # a clip whose samples stay below this, of 1, is silence
NUM_HELD_OUT = 5  # of a folder's clips, one in so many is held out


def torchaudio() -> ModuleType:
    """Return torchaudio, where it loads beside torch.

    Raises
    ------
    ImportError : it does not; both versions and the remedy are named
    """
    try:
        import torchaudio.functional
        import torchaudio.transforms  # noqa: F401
    except Exception as error:  # beside a torch of another kind it fails in many ways
        found = []
        for name in ("torchaudio", "torch"):
            try:
                found.append(f"{name} {metadata.version(name)}")
            except metadata.PackageNotFoundError:
                found.append(f"{name} (missing)")
        raise ImportError(
            f"{' beside '.join(found)} does not load: {error}. Only sound needs it. To mend it: "
            "python -m pip install --upgrade --force-reinstall torch torchaudio"
        ) from error
    return torchaudio


def spectrogram(sound: Tensor) -> Tensor:
    """Return the spectrograms of clips (n, 8192): (n, 257, 64), 0 at the floor, 1 at REFERENCE."""
    transform = torchaudio().transforms.Spectrogram(N_FFT, hop_length=HOP, power=1).to(sound)
    parts = [transform(part)[..., :FRAMES] for part in sound.split(128)]
    for part in parts:
        part.div_(REFERENCE).clamp_(min=10 ** (-FLOOR / 20)).log10_().mul_(20 / FLOOR).add_(1)
    return torch.cat(parts)


def vocode(spectrograms: Tensor) -> Tensor:
    """Return clips (n, 8192) with about these spectrograms (n, 257, 64), each at most PEAK.

    Each starts from the same random phases: its sound is a function of its spectrogram alone.

    Source: Griffin & Lim 1984, the fast version of Perraudin et al. 2013, as torchaudio has it.
    """
    griffin_lim = torchaudio().transforms.GriffinLim(
        N_FFT, n_iter=32, hop_length=HOP, power=1, momentum=0.99, length=LENGTH
    )
    # The floor is no sound: left in, it would be a hiss in every bin.
    amplitude = 10 ** (FLOOR / 20 * (spectrograms.float() - 1)) - 10 ** (-FLOOR / 20)
    amplitude = nn.functional.pad(REFERENCE * amplitude.clamp(min=0), (0, 1), mode="replicate")
    sounds = []
    with torch.random.fork_rng(devices=[]):
        for one in amplitude:
            torch.manual_seed(0)
            sounds.append(griffin_lim(one))
    return limited(torch.stack(sounds))


def limited(sound: Tensor) -> Tensor:
    """Return clips (n, samples), those that go beyond PEAK made softer."""
    peak = sound.abs().amax(-1, keepdim=True)
    return (sound * (PEAK / peak.clamp(min=PEAK))).clamp(-PEAK, PEAK)  # rounding may go beyond


def loud(sound: Tensor) -> Tensor:
    """Return clips (n, samples) of equal level, root mean square LEVEL; silence stays."""
    level = sound.square().mean(-1, keepdim=True).sqrt()
    return sound * LEVEL / level.clamp(min=SILENT * LEVEL)


def save_wav(path: str | Path, sound: Tensor) -> None:
    """Write one clip (samples,), from -1 to 1, as a 16-bit WAV file at RATE, whole or not at all.

    Raises
    ------
    ValueError : another shape, no samples, or samples that are not finite or beyond -1 to 1
    """
    import soundfile

    sound = sound.detach().cpu().float()
    ok = sound.ndim == 1 and len(sound) > 0 and bool((sound.abs() <= 1).all())
    if not ok:
        raise ValueError(
            "The 'sound' parameter of save_wav must be (samples,), each finite and from -1 to 1. "
            f"Got shape {tuple(sound.shape)}, greatest {sound.abs().max() if len(sound) else None} "
            "instead."
        )
    with replaced(Path(path)) as partial:
        soundfile.write(partial, sound.numpy(), RATE, subtype="PCM_16", format="WAV")


class Basis(NamedTuple):
    """Principal axes of spectrograms, not whitened: mean (d,), axes (d, k), and one scale.

    Coefficients x have root mean square .5 on the data that the axes were fitted on.
    """

    mean: Tensor
    axes: Tensor
    scale: Tensor

    def encode(self, spectrograms: Tensor) -> Tensor:
        """Return the coefficients (n, k) of spectrograms (n, 257, frames)."""
        flat = spectrograms.flatten(1)
        return self.scale.to(flat) * ((flat - self.mean.to(flat)) @ self.axes.to(flat))

    def decode(self, x: Tensor) -> Tensor:
        """Return the spectrograms (n, 257, frames) of coefficients (n, k)."""
        flat = self.mean.to(x) + (x / self.scale.to(x)) @ self.axes.to(x).T
        return flat.unflatten(1, (N_FFT // 2 + 1, -1))


def fit_basis(spectrograms: Tensor, num_components: int = NUM_COMPONENTS) -> Basis:
    """Return the principal axes of spectrograms (n, 257, frames), n above ``num_components``.

    An axis's greatest element is positive, so that signs do not hang on the linear algebra.
    """
    flat = spectrograms.flatten(1)
    mean = flat.mean(0)
    offset = (flat - mean).double()
    squares, vectors = torch.linalg.eigh(offset @ offset.T)  # n by n: fewer clips than dimensions
    axes = offset.T @ vectors.flip(1)[:, :num_components] / squares.flip(0)[:num_components].sqrt()
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    rms = (offset @ axes).square().mean().sqrt()
    return Basis(mean.float(), axes.float(), (0.5 / rms).float())


class Sounds(Domain):
    """A domain whose x (n, k) are principal components of spectrograms: what one sees and hears.

    A subclass supplies ``basis``, and what it reads in a clip as ``captions``.
    """

    num_threads = 1
    num_shown = 4

    @property
    def basis(self) -> Basis:
        """The axes that x are coefficients of."""
        raise NotImplementedError

    def captions(self, x: Tensor) -> list[tuple[str, str, Sequence[str]]]:
        """Return a title, its colour, and what stands in each part of a clip, for each x."""
        names = [(self.mode_names[k], COLOURS[k % len(COLOURS)]) for k in range(self.num_modes)]
        read = [names[k] if k >= 0 else ("invalid", "#999999") for k in self.assign(x).tolist()]
        return [(title, colour, ()) for title, colour in read]

    def features(self, x: Tensor) -> Tensor:
        return x

    def spectrogram(self, x: Tensor) -> Tensor:
        """Return the spectrograms (n, 257, 64) that x (n, k) stand for, 0 floor, 1 loud."""
        return self.basis.decode(x.detach().cpu().float())

    def to_sound(self, x: Tensor) -> Tensor:
        """Return x (n, k) as clips (n, 8192), 8,000 samples a second, between -.99 and .99.

        Raises
        ------
        ValueError : x is not finite
        """
        if not torch.isfinite(x).all():
            raise ValueError(
                f"The 'x' parameter of to_sound must be finite. Got {x[~x.isfinite()][0]} instead."
            )
        return vocode(self.spectrogram(x))

    def show(self, x: Tensor, label: Any = None, columns: int = 4, limit: int = 16) -> Any:
        """Draw the first ``limit`` clips: spectrogram, what is read in it, and the waveform."""
        rows = {f"{i}": part for i, part in enumerate(x[:limit].split(columns))}
        figure = self._draw(rows, columns)
        if isinstance(label, int) and label < self.num_classes:
            figure.suptitle(f"class {label}: {self.class_names[label]}", fontsize=9)
        return figure

    def compare(self, samples: Mapping[str, Tensor], limit: int = 4) -> Any:
        """Draw a row of clips for each name: {"s = 1": x, "s = 3": x of the same noise}."""
        return self._draw({name: x[:limit] for name, x in samples.items()}, limit, named=True)

    def _draw(self, rows: Mapping[str, Tensor], columns: int, named: bool = False) -> Any:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(2.1 * columns, 1.9 * len(rows) + 0.3), layout="constrained")
        grid = figure.add_gridspec(2 * len(rows), columns, height_ratios=[3, 1] * len(rows))
        seconds = LENGTH / RATE
        for i, (name, x) in enumerate(rows.items()):
            parts = zip(self.spectrogram(x), self.to_sound(x), self.captions(x), strict=True)
            for j, (picture, sound, (title, colour, words)) in enumerate(parts):
                above = figure.add_subplot(grid[2 * i, j])
                extent = (0, seconds, 0, RATE / 2000)
                look: Any = dict(extent=extent, cmap="magma", vmin=0, aspect="auto")
                above.imshow(picture.numpy(), origin="lower", **look)
                above.set_title(title, fontsize=8, color=colour, pad=2, weight="bold")
                for k, word in enumerate(words):
                    at = (k + 0.5) * seconds / len(words)
                    above.text(at, 3.55, word, color="white", fontsize=7, ha="center")
                below = figure.add_subplot(grid[2 * i + 1, j], sharex=above)
                below.plot(np.arange(LENGTH) / RATE, sound.numpy(), color=colour, linewidth=0.3)
                below.set(xlim=(0, seconds), ylim=(-1, 1), yticks=[])
                for ax in (above, below):
                    ax.tick_params(labelsize=6, length=2)
                above.tick_params(labelbottom=False)
                if j == 0:
                    above.set_ylabel(f"{name}\nkHz" if named else "kHz", fontsize=7)
                if i == len(rows) - 1:
                    below.set_xlabel("s", fontsize=7)
        return figure

    def players(self, x: Tensor) -> list[Any]:
        """Return a player for each clip: 16 bits, 1.024 s, all equally loud."""
        from IPython.display import Audio

        sounds = limited(loud(self.to_sound(x)))
        return [Audio(sound.numpy(), rate=RATE, normalize=False) for sound in sounds]

    def sounds(self, x: Tensor) -> list[bytes]:
        return [player.data for player in self.players(x)]

    def play(self, x: Tensor | Mapping[str, Tensor]) -> Any:
        """Return a table of players under what is read; a row for each name where x has names."""
        from IPython.display import HTML

        lines = []
        for name, part in (x if isinstance(x, Mapping) else {"": x}).items():
            cells = [f"<th>{html.escape(name)}</th>"] if name else []
            for player, (title, colour, _) in zip(
                self.players(part), self.captions(part), strict=True
            ):
                title = f"<b style='color:{colour}'>{html.escape(title)}</b>"
                cells.append(f"<td>{title}<br>{player._repr_html_()}</td>")
            lines.append(f"<tr>{''.join(cells)}</tr>")
        return HTML(f"<table>{''.join(lines)}</table>")


class Clips(NamedTuple):
    """Sounds of a folder: sound (n, 8192), label (n,), and the sub-folders' names."""

    sound: Tensor
    label: Tensor
    class_names: list[str]


def read_clips(folder: str | Path) -> Clips:
    """Return the WAV and FLAC files of a folder as clips, labelled by sub-folder.

    Files are mixed down to one channel, resampled to 8,000 samples a second and cut into clips of
    1.024 s; what is left is filled up with silence where it is half a clip, or the whole file.
    Silent clips are left out, and all have the same level. Files that lie in the folder itself are
    a class of its name.

    Raises
    ------
    ValueError : no such folder, no WAV or FLAC in it, or files that are unreadable, silent or
        shorter than a tenth of a second: all of them are named
    """
    folder = Path(folder)
    kinds = (".wav", ".flac")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in kinds and p.is_file())
    if not files:
        raise ValueError(
            "The 'folder' parameter of read_clips must be a folder with WAV or FLAC files. "
            f"Got {str(folder)!r}, {'which has none' if folder.is_dir() else 'no folder'}, instead."
        )
    found: dict[str, list[Tensor]] = {}
    wrong = []
    for path in files:
        inside = path.relative_to(folder).parts
        try:
            clips = _cut(_read_sound(path))
            found.setdefault(inside[0] if len(inside) > 1 else folder.resolve().name, []).append(
                clips
            )
        except ValueError as error:
            wrong.append(f"{path.relative_to(folder)} ({error})")
    if wrong:
        raise ValueError(
            "The 'folder' parameter of read_clips must hold sounds that can be read. "
            f"Got {len(wrong)} of {len(files)} files that cannot instead: {'; '.join(wrong)}."
        )
    sounds = [torch.cat(clips) for clips in found.values()]
    label = torch.arange(len(sounds)).repeat_interleave(torch.tensor([len(s) for s in sounds]))
    return Clips(limited(loud(torch.cat(sounds))), label, list(found))


def _read_sound(path: Path) -> Tensor:
    """Return a file as one channel at RATE (samples,), or raise a ValueError that says why not."""
    import soundfile

    try:
        with path.open("rb") as file:  # by handle: names in any script, on any system
            samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise ValueError(f"unreadable: {error}") from error
    sound = torch.from_numpy(samples).mean(1)
    if not torch.isfinite(sound).all():
        raise ValueError("samples that are no numbers")
    if len(sound) < rate / 10:
        raise ValueError(f"{len(sound)} samples at {rate} a second: shorter than .1 s")
    if sound.abs().max() < SILENT:
        raise ValueError("silent")
    return torchaudio().functional.resample(sound, rate, RATE)


def _cut(sound: Tensor) -> Tensor:
    """Return the clips (n, LENGTH) of a sound (samples,) that are not silent, at least one."""
    whole, rest = divmod(len(sound), LENGTH)
    clips = max(whole + (rest >= LENGTH / 2), 1)
    sound = nn.functional.pad(sound, (0, LENGTH))[: clips * LENGTH].view(clips, LENGTH)
    sound = sound[sound.abs().amax(1) >= SILENT]
    if len(sound) == 0:
        raise ValueError("silent but for less than half a clip at its end")
    return sound


class Recordings(Sounds):
    """A folder of your own WAV or FLAC files: class and mode are both the sub-folder.

    What can be measured: whether samples are like the recordings (validity), and whether they
    are of their class (alignment is 1 for any valid sample here, mode_coverage too: look at
    ``accuracy``). What cannot: coverage inside a class, whose modes nobody has named. With few
    recordings the samples are copies of them, those of ``exact()`` always.

    Parameters
    ----------
    folder : as ``read_clips`` takes it, at least five clips a sub-folder

    Raises
    ------
    ValueError : as ``read_clips``, or a sub-folder with fewer clips

    Lesson: 04_audio.
    """

    name = "recordings"
    recipe = {"train_steps": 2000, "batch_size": 128, "lr": 2e-3, "ema": 0.998}

    def __init__(self, folder: str | Path):
        clips = read_clips(folder)
        counts = torch.bincount(clips.label)
        if counts.min() < NUM_HELD_OUT:
            few = {n: int(c) for n, c in zip(clips.class_names, counts, strict=True)}
            raise ValueError(
                f"The 'folder' parameter of Recordings must have {NUM_HELD_OUT} clips of 1.024 s "
                f"or more in each sub-folder. Got {few} instead."
            )
        super().__init__(torch.eye(len(counts)))
        self.class_names = self.mode_names = clips.class_names
        self.diffusion = Gaussian(
            sigma_min=0.02, sigma_max=20.0, sigma_data=0.5, p_mean=-0.4, p_std=1.2
        )
        rank = torch.cat([torch.arange(int(c)) for c in counts])
        held_out = rank % NUM_HELD_OUT == 0
        pictures = spectrogram(clips.sound)
        self._basis = fit_basis(
            pictures[~held_out], min(NUM_COMPONENTS, int((~held_out).sum()) - 1)
        )
        x = self._basis.encode(pictures)
        self.parts = {part: (x[own], clips.label[own]) for part, own in
                      ((False, ~held_out), (True, held_out))}  # fmt: skip
        nearest = torch.cdist(x[held_out], x[~held_out]).amin(1)
        self.limit = 1.15 * nearest.max().item()

    @property
    def basis(self) -> Basis:
        return self._basis

    def config(self) -> dict[str, Any]:
        return {**super().config(), "clips": self.parts[False][0].double().sum().item()}

    def data(
        self, n: int, seed: int = 0, held_out: bool = False, stratified: bool = False
    ) -> Batch:
        """Return n clips: the class, then any recording of it."""
        generator = self.generator(seed, held_out)
        label, mode = self.draw_modes(n, generator, stratified)
        x, own = self.parts[held_out]
        count = torch.bincount(own)
        pick = (torch.rand(n, generator=generator) * count[mode]).long() + count.cumsum(0)[mode]
        return Batch(x[pick - count[mode]], label, mode)

    def network(self) -> nn.Module:
        return MLP(self._basis.axes.shape[1], self.num_classes, hidden=192)

    def exact(self) -> GaussianMixture:
        """Return the ideal denoiser of the recordings that are not held out: it copies them."""
        x, own = self.parts[False]
        weights = nn.functional.one_hot(own).double().T
        return GaussianMixture(x, torch.zeros(len(x)), weights / weights.sum(1, keepdim=True))

    def assign(self, x: Tensor) -> Tensor:
        """Return the sub-folder of the nearest recording; -1: farther than held-out ones are."""
        real, own = self.parts[False]
        nearest, place = torch.cdist(x.detach().cpu().float(), real).nan_to_num(torch.inf).min(1)
        return own[place].masked_fill(~(nearest <= self.limit), -1).to(x.device)

    def extra_measures(self, x: Tensor, label: int) -> dict[str, float]:
        """Return accuracy: the share of valid samples that are read as their class."""
        read = self.assign(x)
        return {"accuracy": (read[read >= 0] == label).double().mean().item()}
