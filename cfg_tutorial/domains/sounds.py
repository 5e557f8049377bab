"""Sound as spectrograms and back, players, and a folder of your own. Knows nothing of notes."""

import contextlib
import html
import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import require
from cfg_tutorial.diffusion import Gaussian
from cfg_tutorial.domains.base import Batch, Domain
from cfg_tutorial.files import replaced
from cfg_tutorial.keys import key_of
from cfg_tutorial.models import Empirical
from cfg_tutorial.networks import MLP

RATE, LENGTH = 8_000, 8_192  # samples per second, samples per clip (1.024 s)
N_FFT, HOP = 512, 128
FRAMES = LENGTH // HOP
FLOOR, REFERENCE = 40.0, 32.0  # dB shown below a spectrogram's 1, and the amplitude there
NUM_COMPONENTS = 32
LEVEL, PEAK = 0.1, 0.99  # root mean square of what is played, and the most that a sample may be
SILENT = 1e-4  # a clip whose samples stay below this, of 1, is silence
LEAST_RATE, MOST_RATE = 1_000, 1_000_000  # samples per second
MOST_SAMPLES = 2**28  # of a file, a channel: 1 GiB, or 100 minutes at 44,100 per second
GREATEST = 1e10  # a sample, of 1: the squares of greater ones are no numbers
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
            f"{' beside '.join(found)} does not load: {error}. Sound needs it, and text too. "
            "To mend it: python -m pip install --upgrade --force-reinstall torch torchaudio"
        ) from error
    return torchaudio


def spectrogram(sound: Tensor) -> Tensor:
    """Return the spectrograms of clips (n, 8192): (n, 257, 64), 0 at the floor, 1 at REFERENCE."""
    sound = sound.float()  # whatever torch's default is
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
    most = sound.abs().max() if sound.numel() else None
    got = f"shape {tuple(sound.shape)}, greatest {most}"
    require(ok, "save_wav", "sound", "(samples,), each finite and from -1 to 1", got)
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
    squares = squares.flip(0)[:num_components]
    squares = squares[squares > 1e-10 * squares[0]]  # copies of one another have fewer axes
    axes = offset.T @ vectors.flip(1)[:, : len(squares)] / squares.sqrt()
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
        read = self.assign(x).tolist()
        return [(self.mode_names[k] if k >= 0 else "invalid", self.colour(k), ()) for k in read]

    def features(self, x: Tensor) -> Tensor:
        return x

    def spectrogram(self, x: Tensor) -> Tensor:
        """Return the spectrograms (n, 257, 64) that x (n, k) stand for, 0 floor, 1 loud."""
        return self.basis.decode(x.detach().cpu().float())

    def to_sound(self, x: Tensor) -> Tensor:
        """Return x (n, k) as clips (n, 8192), 8,000 samples per second, between -.99 and .99.

        Raises
        ------
        ValueError : x is not finite
        """
        finite = torch.isfinite(x)
        require(finite.all(), "to_sound", "x", "finite", lambda: x[~finite][0])
        return vocode(self.spectrogram(x))

    def show(self, x: Tensor, label: Any = None, columns: int = 0, limit: int = 16) -> Any:
        """Draw the first ``limit`` clips: spectrogram, what is read in it, and the waveform."""
        from cfg_tutorial.domains.picture import plain

        columns = columns or (2 if len(x) <= 4 else 4)  # four are a square, wide enough to read
        rows = {f"{i}": part for i, part in enumerate(x[:limit].split(columns))}
        figure = self._draw(rows, columns)
        if isinstance(label, int) and label < self.num_classes:
            figure.suptitle(plain(f"class {label}: {self.class_names[label]}"), fontsize=9)
        return figure

    def compare(self, samples: Mapping[str, Tensor], limit: int = 4) -> Any:
        """Draw a row of clips for each name: {"s = 1": x, "s = 3": x of the same noise}."""
        return self._draw({name: x[:limit] for name, x in samples.items()}, limit, named=True)

    def _draw(self, rows: Mapping[str, Tensor], columns: int, named: bool = False) -> Any:
        from cfg_tutorial.domains.picture import Picture, plain

        figure = Picture(figsize=(2.6 * columns, 2.4 * len(rows) + 0.3), layout="constrained")
        grid = figure.add_gridspec(2 * len(rows), columns, height_ratios=[3, 1] * len(rows))
        seconds = LENGTH / RATE
        for i, (name, x) in enumerate(rows.items()):
            parts = zip(self.spectrogram(x), self.to_sound(x), self.captions(x), strict=True)
            for j, (picture, sound, (title, colour, words)) in enumerate(parts):
                above = figure.add_subplot(grid[2 * i, j])
                extent = (0, seconds, 0, RATE / 2000)
                look: Any = dict(extent=extent, cmap="magma", vmin=0, aspect="auto")
                above.imshow(picture.numpy(), origin="lower", **look)
                above.set_title(plain(title), fontsize=10, color=colour, pad=2, weight="bold")
                for k, word in enumerate(words):
                    at = (k + 0.5) * seconds / len(words)
                    above.text(at, 4.75, word, color="white", fontsize=8, ha="center", va="top")
                above.set(ylim=(0, 4.8), yticks=range(5), facecolor="black")  # words above sound
                below = figure.add_subplot(grid[2 * i + 1, j], sharex=above)
                below.plot(np.arange(LENGTH) / RATE, sound.numpy(), color=colour, linewidth=0.3)
                below.set(xlim=(0, seconds), ylim=(-1, 1), yticks=[])
                below.tick_params(labelsize=8, length=2)
                above.tick_params(labelsize=8, length=2, labelbottom=False)
                if j == 0:
                    above.set_ylabel(f"{plain(name)}\nkHz" if named else "kHz", fontsize=9)
                if i == len(rows) - 1:
                    below.set_xlabel("s", fontsize=9)
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
    """Sounds of a folder: sound (n, 8192), label (n,), the sub-folders' names, the files' hash."""

    sound: Tensor
    label: Tensor
    class_names: list[str]
    key: str


def read_clips(folder: str | Path) -> Clips:
    """Return the WAV and FLAC files of a folder as clips, labelled by sub-folder.

    Files are mixed down to one channel, resampled to 8,000 samples per second and cut into clips of
    1.024 s; what is left is filled up with silence where it is half a clip, or the whole file.
    Silent clips are left out, and all have the same level. Files that lie in the folder itself are
    a class of its name; hidden files and folders are left out.

    Raises
    ------
    ValueError : no such folder, no WAV or FLAC in it, or files that are unreadable, silent,
        shorter than a tenth of a second or longer than 2^28 samples: all of them are named
    """
    folder = Path(folder).expanduser()
    kinds = (".wav", ".flac")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in kinds and p.is_file())
    files = [p for p in files if not any(n.startswith(".") for n in p.relative_to(folder).parts)]
    got = f"{str(folder)!r}, {'which has none' if folder.is_dir() else 'no folder'},"
    require(files, "read_clips", "folder", "a folder with WAV or FLAC files", got)
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
    got = f"{len(wrong)} of {len(files)} files that cannot ({'; '.join(wrong)})"
    require(not wrong, "read_clips", "folder", "one whose sounds can be read", got)
    sounds = [torch.cat(clips) for clips in found.values()]
    label = torch.arange(len(sounds)).repeat_interleave(torch.tensor([len(s) for s in sounds]))
    key = key_of([[*path.relative_to(folder).parts, path.read_bytes()] for path in files])
    return Clips(limited(loud(torch.cat(sounds))), label, list(found), key)


class _Sought(io.BufferedReader):
    """A file of which a damaged header may ask for any place; soundfile prints what is raised."""

    def seek(self, place: int, whence: int = 0) -> int:
        with contextlib.suppress(OSError, ValueError):
            return super().seek(place, whence)
        return self.tell()


def _read_sound(path: Path) -> Tensor:
    """Return a file as one channel at RATE (samples,), or raise a ValueError that says why not."""
    import soundfile

    try:
        # Opened here, since names may be in any script.
        with _Sought(io.FileIO(path)) as opened, soundfile.SoundFile(opened) as file:
            rate, parts, size = file.samplerate, [], max(2**20 // file.channels, 1)
            # Part by part: a damaged header may claim more samples than fit into any memory, and
            # a FLAC of silence may hold them.
            while len(part := file.read(size, dtype="float32", always_2d=True)):
                parts.append(torch.from_numpy(part).mean(1))
                if len(parts) * size > MOST_SAMPLES:
                    break
    except Exception as error:  # whatever the library makes of damaged bytes
        raise ValueError(f"unreadable: {error}") from error
    if len(parts) * size > MOST_SAMPLES:
        raise ValueError(f"more than {MOST_SAMPLES} samples: cut it into parts")
    sound = torch.cat(parts) if parts else torch.zeros(0)
    parts.clear()
    if not torch.isfinite(sound).all():
        raise ValueError("samples that are no numbers")
    if not LEAST_RATE <= rate <= MOST_RATE:
        raise ValueError(f"{rate} samples per second: not from {LEAST_RATE} to {MOST_RATE}")
    if len(sound) < rate / 10:
        raise ValueError(f"{len(sound)} samples at {rate} a second: shorter than .1 s")
    peak = sound.abs().max()
    if peak > GREATEST:
        raise ValueError(f"samples as great as {peak:.3g}, of 1")
    if peak < SILENT:
        raise ValueError("silent")
    near = Fraction(rate, RATE).limit_denominator(320)  # 44,101 to 8,000 would take 6 GiB
    return torchaudio().functional.resample(sound, near.numerator, near.denominator)


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
    ValueError : as ``read_clips``, a sub-folder with fewer clips, or copies of one clip alone

    Lesson: 04_audio.
    """

    name = "recordings"
    recipe = {"train_steps": 2000, "batch_size": 128, "lr": 2e-3, "ema": 0.998}

    def __init__(self, folder: str | Path):
        clips = read_clips(folder)
        counts = torch.bincount(clips.label)
        few = {n: int(c) for n, c in zip(clips.class_names, counts, strict=True)}
        expected = f"one with {NUM_HELD_OUT} clips of 1.024 s or more in each sub-folder"
        require(counts.min() >= NUM_HELD_OUT, "Recordings", "folder", expected, few)
        super().__init__(torch.eye(len(counts)))
        self.class_names = self.mode_names = clips.class_names
        self.diffusion = Gaussian(
            sigma_min=0.02, sigma_max=20.0, sigma_data=0.5, p_mean=-0.4, p_std=1.2
        )
        rank = torch.cat([torch.arange(int(c)) for c in counts])
        held_out = rank % NUM_HELD_OUT == 0
        pictures = spectrogram(clips.sound)
        differ = (pictures - pictures[0]).abs().max() > 1e-4
        expected, got = "one whose clips differ", f"{str(folder)!r}, with copies of one clip,"
        require(differ, "Recordings", "folder", expected, got)
        self._basis = fit_basis(
            pictures[~held_out], min(NUM_COMPONENTS, int((~held_out).sum()) - 1)
        )
        x = self._basis.encode(pictures)
        self.parts = {part: (x[own], clips.label[own]) for part, own in
                      ((False, ~held_out), (True, held_out))}  # fmt: skip
        nearest = torch.cdist(x[held_out], x[~held_out]).amin(1)
        self.limit = 1.15 * nearest.max().item()
        self.options = {"clips": int(clips.key[:12], 16)}  # sums differ with the threads

    @property
    def basis(self) -> Basis:
        return self._basis

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

    def exact(self) -> Empirical:
        """Return the ideal denoiser of the recordings that are not held out: it copies them."""
        return Empirical(*self.parts[False], self.mode_weights)

    def assign(self, x: Tensor) -> Tensor:
        """Return the sub-folder of the nearest recording; -1: farther than held-out ones are."""
        real, own = self.parts[False]
        nearest, place = torch.cdist(x.detach().cpu().float(), real).nan_to_num(torch.inf).min(1)
        return own[place].masked_fill(~(nearest <= self.limit), -1).to(x.device)

    def extra_measures(self, x: Tensor, label: int) -> dict[str, float]:
        """Return accuracy: the share of valid samples that are read as their class."""
        read = self.assign(x)
        return {"accuracy": (read[read >= 0] == label).double().mean().item()}
