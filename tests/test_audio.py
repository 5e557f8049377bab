"""Melodies: the bank and its builder, the data's law, the reader, sound and back, pictures."""

import base64
import hashlib
import io
import re
import subprocess
import sys
import wave

import numpy as np
import pytest
import torch
from toys import ROOT, loaded

import cfg_tutorial as ct
from cfg_tutorial.domains import audio, sounds
from cfg_tutorial.lessons import melodies

BANK = ROOT / "data" / "notes8k.npz"


def load(**options):
    return ct.load("audio", **options)


@pytest.fixture(autouse=True)
def small_pool(monkeypatch):
    """A training run's clips take seconds: fewer will do here."""
    monkeypatch.setattr(audio, "NUM_POOL", 2_400)


@pytest.fixture(scope="module")
def domain():
    return load()


@pytest.fixture(scope="module")
def builder():
    return loaded("data/builders/build_notes.py")


@pytest.fixture(scope="module")
def player_tools(builder):
    """Skip where the SoundFont or its player is not installed."""
    try:
        builder.ctypes.CDLL(builder.LIBRARY)
    except OSError:
        pytest.skip(f"no {builder.LIBRARY}: install libfluidsynth3")
    if not builder.SOUNDFONT.is_file():
        pytest.skip(f"no {builder.SOUNDFONT}: install musescore-general-soundfont")


@pytest.fixture(scope="module")
def held_out(domain):
    """The same 200 held-out clips as sound and as x."""
    sound, x = domain.sound(200, seed=3, held_out=True), domain.data(200, seed=3, held_out=True)
    assert torch.equal(sound.mode, x.mode) and torch.equal(sound.label, x.label)
    return sound.x, x.x, x.mode


# The bank


def test_bank_is_the_one_whose_checksums_are_published():
    text = (ROOT / "data" / "notes8k.LICENSE.md").read_text(encoding="utf-8")
    assert BANK.stat().st_size <= 500_000
    assert hashlib.sha256(BANK.read_bytes()).hexdigest() in text
    with np.load(BANK, allow_pickle=False) as archive:
        notes = archive["notes"]
        assert notes.shape == (4, 6, 4, 2560) and notes.dtype == np.int16
        assert hashlib.sha256(notes.tobytes()).hexdigest() in text
        assert archive["instruments"].tolist() == audio.INSTRUMENTS
        assert archive["rate"] == sounds.RATE
        hertz = 440 * 2 ** ((archive["keys"] - 69) / 12)
        np.testing.assert_allclose(hertz, audio.HERTZ)
    assert np.abs(notes).max(-1).min() > 1_500 and np.abs(notes).max() < 32_767


def test_licence_tells_sources_and_recordings():
    text = (ROOT / "data" / "notes8k.LICENSE.md").read_text(encoding="utf-8")
    for part in ("Frank Wen", "S. Christian Collins", "Permission is hereby granted", "23"):
        assert part in text


def test_rebuilding_gives_the_same_bank(player_tools, tmp_path):
    """In processes of their own: soundfile brings another decoder than FluidSynth's."""
    found = []
    for name in ("first.npz", "second.npz"):
        script = ROOT / "data" / "builders" / "build_notes.py"
        command = [sys.executable, script, "--target", tmp_path / name]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        found.append((tmp_path / name).read_bytes())
    assert found[0] == found[1]
    with np.load(BANK, allow_pickle=False) as shipped, np.load(tmp_path / name) as built:
        assert sorted(shipped) == sorted(built)
        for array in shipped:
            np.testing.assert_array_equal(built[array], shipped[array])


def test_every_note_has_the_pitch_of_its_key():
    notes = audio.notes().flatten(0, 2)[:, : audio.SLOT]
    pitch = torch.arange(6).repeat_interleave(4).repeat(4)
    clip = notes.repeat(1, 4)
    off = melodies.cents(clip, pitch[:, None].expand(-1, 4))
    assert off.abs().max() < 8


def test_levels_of_notes_are_evened():
    loud = torch.tensor([[1.0, -1, 1, -1], [16.0, -16, 16, -16]])
    level = audio.even(loud).square().mean(1).sqrt()
    assert (level[1] / level[0]).item() == pytest.approx(2)  # 16 to the power 1/4


@pytest.mark.parametrize("ratio", [(173, 172), (18, 17), (17, 18)])
def test_tuning_shifts_pitch_by_its_ratio(ratio):
    time = torch.arange(4 * audio.SLOT) / sounds.RATE
    tone = torch.sin(2 * torch.pi * audio.HERTZ[2] * time)
    (shifted,) = audio.tuned(tone, [ratio]).unbind(-2)
    got = torch.fft.rfft(shifted[:6000].double() * torch.hann_window(6000), 2**17).abs().argmax()
    assert got * sounds.RATE / 2**17 == pytest.approx(
        audio.HERTZ[2] * ratio[0] / ratio[1], rel=2e-4
    )


# The data


def test_domain_keeps_the_contract(domain):
    assert "class 3: exact samples follow the law" in ct.check_domain(domain)


def test_weights_are_those_of_the_story(domain):
    weights = domain.mode_weights
    assert weights.shape == (4, 12) and ((weights > 0).sum(1) == 6).all()
    assert ((weights > 0).sum(0) == 2).all()  # each phrase in two styles
    share = weights / weights.sum(0)
    assert (weights * share).sum(1).mean().item() == pytest.approx(0.611, abs=5e-4)
    assert len(set(audio.PHRASES)) == 12
    assert domain.mode_names[5] == "CGAG guitar"


@pytest.mark.parametrize("held_out", [False, True])
def test_shares_of_modes_follow_the_weights(domain, held_out):
    n = 4000
    label, mode = domain.draw_modes(n, domain.generator(4, held_out))
    counts = torch.bincount(label * 12 + mode, minlength=48).double()
    expected = n * domain.mode_weights.flatten() / 4
    assert counts[expected == 0].sum() == 0
    own = expected > 0
    chi_square = ((counts - expected)[own] ** 2 / expected[own]).sum()
    assert 7 < chi_square < 60  # 23 degrees of freedom


def test_data_have_the_promised_scale(domain):
    x = domain.data(1000, seed=0).x
    assert x.shape == (1000, 32) and x.dtype == torch.float32
    assert abs(x.square().mean().sqrt() - domain.diffusion.sigma_data) < 0.02
    assert x.mean(0).abs().max() < 0.5


def test_no_two_clips_are_equal(domain):
    batch = domain.data(300, seed=2)
    distance = torch.cdist(batch.x, batch.x).fill_diagonal_(9)
    assert distance.min() > 0.05


def test_a_clip_plays_its_phrase(domain):
    batch = domain.sound(300, seed=5)
    read = domain.read_sound(batch.x)
    assert torch.equal(read.pitch, audio.phrases()[batch.mode])
    assert torch.equal(read.instrument, (batch.mode % 4)[:, None].expand(-1, 4))
    assert batch.x.abs().max() < 1


def test_a_training_run_has_clips_of_its_own(domain):
    run = 1_000_003
    batches = {seed: domain.training_batch(128, seed) for seed in (0, 1, run)}
    x, label = domain.training_batch(128, run)
    assert torch.equal(x, batches[run][0]) and torch.equal(label, batches[run][1])
    assert not torch.equal(x, batches[1][0])
    assert (torch.bincount(label, minlength=4) == 32).all()
    first, second = (audio.pool("styles", audio.NUM_POOL, run) for run in (0, 1))
    per_phrase = audio.NUM_POOL // 12
    assert first.shape == (12, 1, per_phrase, 32)
    assert (first != second).any(3).all()
    assert first.square().mean().sqrt() == pytest.approx(0.5, abs=0.02)
    read = domain.assign(first[:, 0, :20].flatten(0, 1))
    assert torch.equal(read, torch.arange(12).repeat_interleave(20))


def test_training_clips_are_of_their_class_and_on_no_other_law(domain):
    x, label = domain.training_batch(1000, 3)
    mode = domain.assign(x)
    counts = torch.bincount(label * 12 + mode, minlength=48)
    assert ((counts - 250 * domain.mode_weights.flatten()).abs() <= 1).all()
    clips = audio.pool("styles", audio.NUM_POOL, 0)
    assert all((x[i] == clips[mode[i], 0]).all(1).any() for i in range(50))


def test_basis_is_orthonormal_and_says_most_of_a_clip(domain, held_out):
    sound, x, _ = held_out
    axes = domain.basis.axes
    torch.testing.assert_close(axes.T @ axes, torch.eye(32), atol=5e-4, rtol=0)
    picture = sounds.spectrogram(sound)
    left = (domain.spectrogram(x) - picture).square().sum()
    total = (picture.flatten(1) - domain.basis.mean).square().sum()
    assert left / total < 0.1
    torch.testing.assert_close(domain.basis.encode(domain.spectrogram(x)), x, atol=2e-3, rtol=0)


def test_fitting_a_basis_finds_the_axes():
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(257 * 2, 3, generator=generator))[0]
    found = torch.randn(40, 3, generator=generator) * torch.tensor([9.0, 3, 1])
    pictures = (found @ axes.T + 5).unflatten(1, (257, 2))
    basis = sounds.fit_basis(pictures, 3)
    assert torch.linalg.svdvals(basis.axes.T @ axes).min() > 0.999
    assert (basis.axes.gather(0, basis.axes.abs().argmax(0, keepdim=True)) > 0).all()
    x = basis.encode(pictures)
    assert x.square().mean().sqrt().item() == pytest.approx(0.5, rel=1e-4)
    torch.testing.assert_close(basis.decode(x), pictures, atol=1e-3, rtol=0)


# The reader


def test_reader_is_right_on_velocities_and_tunings_that_it_never_saw(domain):
    generator = torch.Generator().manual_seed(77)
    note = torch.randint(24, (1000, 4), generator=generator)
    unseen = [layer for layer in range(4) if layer not in audio.READ_LAYERS]
    bank = audio.tuned_notes()[:, :, unseen][:, :, :, 1::2]  # ratios between those fitted on
    assert len(unseen) == 1 and not set(audio.TUNINGS[1::2]) & set(audio.READ_TUNINGS)
    sound = audio.mix(note // 6, note % 6, generator, bank)
    read = domain.read_sound(sound)
    assert torch.equal(read.instrument * 6 + read.pitch, note)
    assert read.valid.all()


def test_reader_is_right_on_held_out_phrases(domain, held_out):
    sound, x, mode = held_out
    assert torch.equal(domain.assign(x), mode)
    read = domain.phrase(domain.read_sound(sound))
    assert torch.equal(read[read >= 0], mode[read >= 0])
    assert (read >= 0).double().mean() >= 0.99


def test_reader_reads_velocities_that_are_not_in_the_bank(domain, builder, player_tools):
    notes = builder.render(
        builder.SOUNDFONT, builder.INSTRUMENTS.values(), velocities=[58, 83, 108]
    )
    bank = audio.tuned(audio.even(torch.from_numpy(notes).float()), audio.TUNINGS[1::2])
    generator = torch.Generator().manual_seed(0)
    mode = torch.arange(12).repeat(20)
    (sound,) = audio.play_phrases(mode, mode % 4, generator, bank)
    assert (domain.phrase(domain.read_sound(sound)) == mode).double().mean() > 0.99


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("noise", 0),
        ("a semitone off", 0),
        ("35 cents off", 0),
        ("25 cents off", 0.15),
        ("two at once", 0.002),
        ("blend", 0.55),  # the louder of the two is heard
        ("half a slot late", 0),
        ("backwards", 0),
    ],
)
def test_reader_refuses_junk(domain, kind, most):
    read = domain.phrase(audio.reader().read(melodies.junk(kind, 300)))
    assert (read >= 0).double().mean() <= most


def test_reader_refuses_other_instruments(domain, builder, player_tools):
    others = {"trumpet": 56, "violin": 40, "marimba": 12}
    bank = torch.from_numpy(builder.render(builder.SOUNDFONT, others.values())).float()
    pictures = melodies.junk("other instruments", 300, bank=bank)
    assert (domain.phrase(audio.reader().read(pictures)) < 0).all()


def test_unknown_junk_is_refused():
    with pytest.raises(ValueError, match="'kind' parameter of junk.*Got 'other instruments'"):
        melodies.junk("other instruments", 4)


def test_what_is_no_number_has_no_mode(domain, held_out):
    x = held_out[1][:4].clone()
    x[1, 3], x[2, 0] = torch.nan, torch.inf
    assert (domain.assign(x) >= 0).tolist() == [True, False, False, True]
    assert (domain.assign(torch.full((2, 32), torch.nan)) == -1).all()
    with pytest.raises(ValueError, match="'x' parameter of to_sound"):
        domain.to_sound(x)


def test_a_wrong_note_or_a_change_of_instrument_is_no_phrase(domain, held_out):
    read = domain.read(held_out[1][:1])
    for name, value in (("pitch", 5), ("instrument", 0), ("valid", False)):
        part = getattr(read, name).clone()
        part[0, 3] = value if name == "valid" else (part[0, 3] + 1) % 4
        assert domain.phrase(read._replace(**{name: part})) == -1


def test_reading_leaves_the_random_state_alone():
    first, before = audio.reader(), torch.get_rng_state()
    audio.reader.cache_clear()
    again = audio.reader()
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.means, again.means) and first.limits == again.limits


# Other layouts


def test_class_as_instrument():
    domain = load(layout="instruments")
    batch = domain.sound(200, seed=0)
    read = domain.read_sound(batch.x)
    assert torch.equal(read.instrument, batch.label[:, None].expand(-1, 4))
    assert domain.class_names == audio.INSTRUMENTS and domain.file_name == "audio-instruments"
    x = domain.data(200, seed=0).x
    assert x.shape == (200, 64)
    read = domain.assign(x)
    assert (read == batch.mode).double().mean() > 0.98
    assert domain.extra_measures(x[batch.label == 2], 2)["accuracy"] > 0.99
    torch.testing.assert_close(domain.tilted_law(8, 1), domain.mode_weights[1])
    exact = domain.sample(domain.exact(), label=3, n=50, progress=False)
    assert (domain.read(exact).instrument == 3).double().mean() > 0.99
    clips, label = domain.training_batch(64, 0)
    assert (domain.read(clips).instrument == label[:, None]).double().mean() > 0.99


def test_weights_are_an_argument():
    domain = load(mode_weights=torch.eye(12)[[2, 5, 7]])
    batch = domain.data(60, seed=0)
    assert torch.equal(domain.assign(batch.x), torch.tensor([2, 5, 7])[batch.label])
    assert domain.class_names == ["style A", "style B", "style C"]
    assert domain.exact().num_classes == 3


@pytest.mark.parametrize(
    "options, parts",
    [
        ({"layout": "styels"}, "'layout' parameter .*'styles' or 'instruments'.*'styels'"),
        ({"mode_weights": torch.full((2, 4), 0.25)}, r"mode_weights.*12.*\(2, 4\)"),
        (
            {"mode_weights": torch.eye(12)[:2], "layout": "instruments"},
            r"mode_weights.*\(4, 12\).*\(2, 12\)",
        ),
    ],
)
def test_wrong_options(options, parts):
    with pytest.raises(ValueError, match=parts):
        load(**options)


# Sound and back


def test_what_is_heard_is_what_is_read(domain, held_out):
    sound, x, mode = (part[:100] for part in held_out)
    again = domain.to_sound(x)
    assert again.shape == (100, 8192) and again.dtype == torch.float32
    assert torch.isfinite(again).all() and again.abs().max() <= 0.99
    assert torch.equal(domain.phrase(domain.read_sound(again)), mode)
    pitch = audio.phrases()[mode]
    assert melodies.cents(again, pitch).abs().median() <= 6  # of the notes' own 5
    assert (melodies.cents(again, pitch) - melodies.cents(sound, pitch)).abs().median() <= 5


def test_sound_of_a_clip_ignores_its_batch_and_the_random_state(domain, held_out):
    x = held_out[1][:3]
    together = domain.to_sound(x)
    torch.manual_seed(5)
    assert torch.equal(domain.to_sound(x), together)
    torch.testing.assert_close(domain.to_sound(x[1:2]), together[1:2], atol=1e-4, rtol=0)


def test_loud_pictures_do_not_clip_and_empty_ones_are_silent():
    sound = sounds.vocode(torch.stack([torch.full((257, 64), 2.0), torch.zeros(257, 64)]))
    assert 0.9 < sound[0].abs().max() <= 0.99
    assert sound[1].abs().max() == 0


def test_save_wav(domain, held_out, tmp_path):
    sound = domain.to_sound(held_out[1][:1])[0]
    path = tmp_path / "a melody, für Elise.wav"
    sounds.save_wav(path, sound)
    with wave.open(str(path)) as file:
        about = file.getframerate(), file.getsampwidth(), file.getnchannels(), file.getnframes()
        samples = np.frombuffer(file.readframes(8192), "<i2")
    assert about == (8000, 2, 1, 8192)
    np.testing.assert_allclose(samples / 32768, sound, atol=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    for wrong in (sound[:0], sound[None], 2 * sound / sound.abs().max(), sound * torch.nan):
        with pytest.raises(
            ValueError, match=r"'sound' parameter of save_wav must .* Got .* instead"
        ):
            sounds.save_wav(tmp_path / "wrong.wav", wrong)
    assert not (tmp_path / "wrong.wav").exists()


def test_players_are_short_16_bit_and_equally_loud(domain, held_out):
    players = domain.players(held_out[1][:4])
    levels = []
    for player in players:
        with wave.open(io.BytesIO(player.data)) as file:
            assert file.getsampwidth() == 2 and file.getnframes() / file.getframerate() <= 1.2
            samples = np.frombuffer(file.readframes(9000), "<i2") / 32768
        assert np.abs(samples).max() <= 0.991
        levels.append(np.sqrt((samples**2).mean()))
    assert max(levels) / min(levels) < 1.05


def test_play_names_rows_and_clips(domain, held_out):
    x = held_out[1]
    page = domain.play({"s = 1": x[:2], "s < 3": x[2:4]}).data
    assert page.count("<audio") == 4 and page.count("<tr>") == 2
    assert "s = 1" in page and "s &lt; 3" in page
    assert domain.mode_names[held_out[2][0]] in page
    found = re.findall(r"data:audio/wav;base64,([^\"]+)", page)
    assert [base64.b64decode(one) for one in found[:2]] == [p.data for p in domain.players(x[:2])]


def test_show_draws_notes_and_waveforms(domain, held_out):
    _, x, mode = held_out
    x = torch.cat([x[:4], torch.randn(1, 32)])
    figure = domain.show(x, 1)
    pictures = [ax for ax in figure.axes if ax.images]
    waves = [ax for ax in figure.axes if ax.lines]
    assert len(pictures) == len(waves) == 5
    assert [ax.get_title() for ax in pictures[:4]] == [domain.mode_names[k] for k in mode[:4]]
    assert pictures[4].get_title() == "invalid"
    wanted = [audio.KEYS[k] for k in audio.phrases()[mode[0]]]
    assert [text.get_text()[:2] for text in pictures[0].texts] == wanted
    np.testing.assert_allclose(waves[2].lines[0].get_ydata(), domain.to_sound(x)[2], atol=1e-4)
    assert figure.get_suptitle() == "class 1: style B"


def test_compare_has_a_row_a_scale(domain, held_out):
    x = held_out[1]
    figure = domain.compare({"s = 1": x[:3], "s = 3": x[3:6]}, limit=3)
    labels = [ax.get_ylabel() for ax in figure.axes if ax.images]
    assert labels == ["s = 1\nkHz", "", "", "s = 3\nkHz", "", ""]


# torchaudio that does not load


@pytest.fixture
def broken(monkeypatch):
    """Make torchaudio fail as it does beside a torch of another kind."""

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "torchaudio":
                raise OSError("libtorch_cuda.so: cannot open shared object file")

    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    audio.tuned_notes.cache_clear()
    yield
    audio.tuned_notes.cache_clear()


def test_a_torchaudio_that_does_not_load_is_named_with_the_remedy(broken):
    domain = load()  # says nothing yet
    for use in (lambda: domain.data(4), lambda: domain.to_sound(torch.zeros(1, 32))):
        with pytest.raises(ImportError) as caught:
            use()
        text = str(caught.value)
        assert f"torch {torch.__version__.split('+')[0]}" in text
        assert re.search(r"torchaudio \d+\.\d+", text) and "libtorch_cuda.so" in text
        assert "pip install --upgrade --force-reinstall torch torchaudio" in text


@pytest.mark.parametrize("name", ["mixtures", "images", "text"])
def test_other_domains_work_without_torchaudio(broken, name):
    domain = ct.load(name)
    x = domain.sample(domain.exact(), label=0, n=4, num_steps=4, progress=False)
    assert len(domain.assign(x)) == 4


def test_clips_do_not_depend_on_torchs_default_type():
    """With torch's default type float64 the same clips are played.

    Before: their noise was other noise, and so was the reader that is fitted to such clips.
    """
    seeded = [torch.Generator().manual_seed(3) for _ in range(2)]
    places = torch.arange(4), torch.arange(4)
    usual = torch.cat([*audio.play_phrases(*places, seeded[0])])
    torch.set_default_dtype(torch.float64)
    try:
        wide = torch.cat([*audio.play_phrases(*places, seeded[1])])
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(wide.float(), usual)
