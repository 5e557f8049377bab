"""A folder of one's own recordings: what is read, what is refused, and a domain made of it."""

import math
import shutil

import numpy as np
import pytest
import soundfile
import torch

import cfg_tutorial as ct
from cfg_tutorial import files
from cfg_tutorial.domains import sounds


def tone(seconds, rate=8000, hertz=440.0, level=0.3):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(path, sound, rate=8000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        soundfile.write(file, sound, rate, format=path.suffix[1:].upper(), **options)


def hertz(clip):
    power = torch.fft.rfft(clip.double() * torch.hann_window(len(clip)), 2**16).abs()
    return power.argmax().item() * sounds.RATE / 2**16


def test_kinds_of_files_are_read_alike(tmp_path):
    stereo = np.stack([tone(2.1, 44100), tone(2.1, 44100)], 1)
    write(tmp_path / "Flöte und Klavier" / "a long name.wav", stereo, 44100)
    write(tmp_path / "Flöte und Klavier" / "音楽 24.flac", tone(1.1), subtype="PCM_24")
    write(tmp_path / "second" / "x.WAV", tone(1.1, 16000), 16000, subtype="FLOAT")
    write(tmp_path / "second" / "deeper" / "y.wav", tone(0.2, 48000, 660), 48000)
    (tmp_path / "second" / "notes.txt").write_text("no sound", encoding="utf-8")
    clips = sounds.read_clips(tmp_path)
    assert clips.class_names == ["Flöte und Klavier", "second"]
    assert clips.label.tolist() == [0, 0, 0, 1, 1]
    assert clips.sound.shape == (5, 8192) and clips.sound.dtype == torch.float32
    found = sorted(round(hertz(clip)) for clip in clips.sound)
    assert found == [440, 440, 440, 440, 660]
    level = clips.sound.square().mean(1).sqrt()
    torch.testing.assert_close(level, torch.full((5,), sounds.LEVEL), atol=0.01, rtol=0)


def test_channels_are_averaged(tmp_path):
    write(tmp_path / "one" / "a.wav", np.stack([tone(1.1), -0.5 * tone(1.1)], 1))
    assert hertz(sounds.read_clips(tmp_path).sound[0]) == pytest.approx(440, abs=1)


def test_long_files_are_cut_and_their_silence_left_out(tmp_path):
    parts = [tone(1.024, hertz=500), np.zeros(8192), tone(1.024, hertz=700), tone(0.3)]
    write(tmp_path / "one" / "a.wav", np.concatenate(parts))
    clips = sounds.read_clips(tmp_path)
    assert [round(hertz(clip)) for clip in clips.sound] == [500, 700]  # the rest is under half


def test_files_beside_the_folders_are_a_class_of_the_folder(tmp_path):
    write(tmp_path / "mine" / "a.wav", tone(1.1))
    write(tmp_path / "mine" / "birds" / "b.wav", tone(1.1))
    assert sorted(sounds.read_clips(tmp_path / "mine").class_names) == ["birds", "mine"]


def test_what_cannot_be_used_is_named_in_one_error(tmp_path):
    write(tmp_path / "fine" / "good.wav", tone(1.1))
    write(tmp_path / "bad" / "silent sound.wav", np.zeros(9000))
    write(tmp_path / "bad" / "late.wav", np.concatenate([np.zeros(8192), tone(0.2)]))
    write(tmp_path / "bad" / "one sample.wav", np.full(1, 0.5))
    write(tmp_path / "bad" / "no samples.wav", np.zeros(0))
    write(tmp_path / "bad" / "numbers.wav", np.full(9000, np.nan), subtype="FLOAT")
    (tmp_path / "bad" / "leer ü.wav").write_bytes(b"")
    (tmp_path / "bad" / "text.flac").write_bytes(b"this is no sound" * 50)
    whole = (tmp_path / "fine" / "good.wav").read_bytes()
    (tmp_path / "bad" / "header alone.wav").write_bytes(whole[:30])
    with pytest.raises(ValueError) as caught:
        sounds.read_clips(tmp_path)
    text = str(caught.value)
    assert text.startswith("The 'folder' parameter of read_clips must") and "8 of 9 files" in text
    assert text.count("\n") == 0
    for part in (
        "silent sound.wav (silent)",
        "late.wav (silent but",
        "one sample.wav (1 samples at 8000 a second",
        "no samples.wav (0 samples",
        "numbers.wav (samples that are no numbers)",
        "leer ü.wav (unreadable",
        "text.flac (unreadable",
        "header alone.wav (unreadable",
    ):
        assert part in text, text
    assert "good.wav" not in text


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_sound(tmp_path, make):
    folder = tmp_path / "none here"
    if make:
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "a.mp3").write_bytes(b"ID3")
    message = "'folder' parameter of read_clips must .* Got '.*none here', "
    with pytest.raises(ValueError, match=message + ("which has none" if make else "no folder")):
        sounds.read_clips(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two kinds of sound that a person could have recorded: 20 high and 30 low gliding tones."""
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(0)
    for name, low, count in (("high", 1500, 20), ("low", 400, 30)):
        for i in range(count):
            pitch = low * 2 ** random.uniform(0, 0.1)
            write(folder / name / f"{i:02}.wav", tone(1.024, hertz=pitch, level=0.3))
    return folder


def test_a_folder_is_a_domain(folder):
    domain = sounds.Recordings(folder)
    assert domain.class_names == ["high", "low"]
    assert "class 1: exact samples follow the law" in ct.check_domain(domain)
    train, held_out = domain.parts[False][0], domain.parts[True][0]
    assert len(train) == 40 and len(held_out) == 10
    assert torch.cdist(train, held_out).min() > 0
    batch = domain.data(100, seed=0)
    equal = (batch.x[:, None] == train).all(2)  # each is one recording, and of its class
    assert (equal.sum(1) == 1).all()
    assert torch.equal(domain.parts[False][1][equal.int().argmax(1)], batch.label)
    assert equal.any(0).sum() > 32
    x = domain.sample(ct.guided(domain.exact(), 2.0), label=1, n=200, progress=False)
    found = domain.measure(x, 1)
    assert found.validity == 1 and found.accuracy == 1
    assert hertz(domain.to_sound(x[:1])[0]) == pytest.approx(415, abs=20)
    assert "audio" in domain.play(x[:2]).data


def test_a_model_of_a_folder_trains(folder, tmp_path):
    domain = sounds.Recordings(folder)
    model = domain.train(seed=0, train_steps=5, folder=tmp_path, progress=False)
    x = domain.sample(model, label=torch.tensor([0, 1]), num_steps=3, progress=False)
    assert torch.isfinite(x).all()
    assert not math.isnan(domain.config()["clips"])


def test_too_few_recordings(tmp_path):
    for i in range(3):
        write(tmp_path / "few" / f"{i}.wav", tone(1.1))
    with pytest.raises(
        ValueError, match=r"'folder' parameter of Recordings.*5 clips.*\{'few': 3\}"
    ):
        sounds.Recordings(tmp_path)


def test_recordings_are_known_by_their_files_and_not_by_their_rounding(folder, tmp_path):
    """Recordings are known by the bytes of their files.

    Before: their key was rounding noise, another with other threads.
    """
    keys = []
    for threads in (1, 2):
        with files.threads(threads):
            keys.append(sounds.Recordings(folder).key())
    other = shutil.copytree(folder, tmp_path / "other")
    assert sounds.Recordings(other).key() == keys[0] == keys[1]
    path = sorted(other.rglob("*.wav"))[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert sounds.Recordings(other).key() != keys[0]


def test_hidden_files_and_folders_are_no_sounds(tmp_path):
    """Hidden files and folders are passed over.

    Before: .ipynb_checkpoints became a class, ._a.wav stopped the folder.
    """
    write(tmp_path / "one" / "a.wav", tone(1.1))
    write(tmp_path / ".ipynb_checkpoints" / "a.wav", tone(1.1))
    write(tmp_path / "one" / ".trash" / "b.wav", tone(1.1))
    (tmp_path / "one" / "._a.wav").write_bytes(b"\0\5\x16\7" * 20)
    clips = sounds.read_clips(tmp_path)
    assert clips.class_names == ["one"] and len(clips.sound) == 1


@pytest.mark.parametrize("rate", [44_101, 47_999, 11_027, 192_001, 8_001, 1_009])
def test_rates_without_a_factor_in_common_are_read(tmp_path, rate):
    """Sounds of any rate are read, by the nearest small fraction.

    Before: half a second at 44,101 Hz took 17 s and 6 GiB.
    """
    write(tmp_path / "one" / "a.wav", tone(1.1, rate), rate)
    assert hertz(sounds.read_clips(tmp_path).sound[0]) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("claimed", [0, 2**36 - 1])
def test_a_header_that_claims_another_length_is_no_trouble(tmp_path, claimed):
    """A header that claims 2^36 samples, or none, takes no memory for them.

    Before: a raw memory error, or no sound.
    """
    write(tmp_path / "one" / "a.flac", tone(1.1))
    path = tmp_path / "one" / "a.flac"
    content = bytearray(path.read_bytes())
    packed = int.from_bytes(content[18:26], "big")  # rate, channels, bits, and 36 bits of length
    content[18:26] = ((packed >> 36 << 36) | claimed).to_bytes(8, "big")
    path.write_bytes(content)
    try:
        assert hertz(sounds.read_clips(tmp_path).sound[0]) == pytest.approx(440, abs=1)
    except ValueError as error:
        assert "a.flac" in str(error)


def test_damaged_sounds_are_refused_by_name_or_read(tmp_path):
    """A damaged sound is read, or refused by name.

    Before: 45 of 12,006 ended in raw errors.
    """
    write(tmp_path / "one" / "a.flac", tone(0.3))
    write(tmp_path / "one" / "b.wav", tone(0.3))
    luck = np.random.default_rng(0)
    for i in range(200):
        path = tmp_path / "one" / ("a.flac" if i % 2 else "b.wav")
        whole = path.read_bytes()
        content = bytearray(whole)
        for place in luck.integers(0, len(content) if i % 3 else 60, 3):
            content[place] = luck.integers(256)
        path.write_bytes(content[: luck.integers(1, len(content))] if i % 5 == 0 else content)
        try:
            assert torch.isfinite(sounds.read_clips(tmp_path).sound).all()
        except ValueError as error:
            assert path.name in str(error)
        path.write_bytes(whole)
