"""Melodies for 04_audio: how far they are off pitch, and junk. Knows no notebook, no check."""

import torch
from torch import Tensor

from cfg_tutorial.domains import audio
from cfg_tutorial.domains.sounds import RATE, spectrogram


def cents(sound: Tensor, pitch: Tensor) -> Tensor:
    """Return how far the strongest partial near each slot's pitch is from it, in cents: (n, 4).

    Parameters
    ----------
    sound : Tensor (n, 8192)
    pitch : Tensor (n, 4) of int, places in audio.PITCHES; partials within 80 cents are looked at
    """
    if len(sound) > 20:  # the transform below takes 6 MB a clip
        parts = zip(sound.split(20), pitch.split(20), strict=True)
        return torch.cat([cents(*part) for part in parts])
    middle = sound.unflatten(1, (audio.SLOTS, audio.SLOT))[..., 400:1800].double()
    size = 2**16  # .12 Hz a bin: .4 cents at C5
    power = torch.fft.rfft(middle * torch.hann_window(middle.shape[-1]).double(), size).abs()
    wanted = torch.tensor(audio.HERTZ, dtype=torch.float64)[pitch][..., None]
    offset = 1200 * (torch.arange(1, size // 2 + 1) * (RATE / size) / wanted).log2()
    power = power[..., 1:].masked_fill(offset.abs() > 80, 0)
    return offset.gather(-1, power.argmax(-1, keepdim=True))[..., 0]


JUNK = {"a semitone off": (18, 17), "35 cents off": (50, 49), "25 cents off": (70, 69)}


def junk(kind: str, n: int = 200, seed: int = 0, bank: Tensor | None = None) -> Tensor:
    """Return spectrograms (n, 257, 64) that are none of the data's: what a reader should refuse.

    Parameters
    ----------
    kind : "noise", a key of JUNK (each note sharp or flat), "two at once" (phrases), "blend"
        (of two spectrograms, .8 and .2), "half a slot late", "backwards", "other instruments"
    bank : Tensor (instruments, pitch, velocity, samples), notes of other instruments

    Raises
    ------
    ValueError : an unknown kind
    """
    generator = torch.Generator().manual_seed(seed)
    phrase = torch.randint(len(audio.PHRASES), (2, n), generator=generator)
    other = (phrase[0] + 1 + phrase[1] % (len(audio.PHRASES) - 1)) % len(audio.PHRASES)
    instrument = phrase[0] % len(audio.INSTRUMENTS)
    sound = torch.cat([*audio.play_phrases(phrase[0], instrument, generator)])
    second = torch.cat([*audio.play_phrases(other, other % len(audio.INSTRUMENTS), generator)])
    if kind == "noise":
        sound = sound.std() * torch.randn(sound.shape, generator=generator)
    elif kind in JUNK:
        off = audio.tuned(audio.notes(), [JUNK[kind], JUNK[kind][::-1]])
        sound = torch.cat([*audio.play_phrases(phrase[0], instrument, generator, off)])
    elif kind == "two at once":
        sound = sound + second
    elif kind == "blend":
        return 0.8 * spectrogram(sound) + 0.2 * spectrogram(second)
    elif kind == "half a slot late":
        sound = sound.roll(audio.SLOT // 2, 1)
    elif kind == "backwards":
        sound = sound.flip(1)
    elif kind == "other instruments" and bank is not None:
        played = torch.randint(len(bank), (n,), generator=generator)
        others = audio.tuned(audio.even(bank), audio.TUNINGS)
        sound = torch.cat([*audio.play_phrases(phrase[0], played, generator, others)])
    else:
        raise ValueError(
            f"The 'kind' parameter of junk must be 'noise', one of {sorted(JUNK)}, 'two at once', "
            "'blend', 'half a slot late', 'backwards', or 'other instruments' with a bank. "
            f"Got {kind!r} instead."
        )
    return spectrogram(sound)
