"""Damaged files of every kind: read, or refused by name with the reason, and nothing else."""

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toys import loaded

import cfg_tutorial as ct
from cfg_tutorial import files, journal
from cfg_tutorial.domains import sounds

resource = pytest.importorskip("resource", reason="needs a system with limits")
soundfile = pytest.importorskip("soundfile")
tool = loaded("tools/fuzz.py")


@pytest.fixture
def limits(monkeypatch):
    """Let stderr have what callbacks raise, as outside of tests; lift a run's limit after it."""
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    before = resource.getrlimit(resource.RLIMIT_AS)
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", tool.READERS)
def test_damage_is_read_or_refused_by_name(tmp_path, limits, name):
    """A damaged file is read, or refused by name, whatever the damage.

    Before: 1,567 of 75,600 checkpoints, some 2,680 of 8,052 journals, 2,013 of 3,013 predictions
    and 45 of 12,006 sounds ended in raw errors without a file's name.
    """
    found = tool.fuzz(name, seed=0, folder=tmp_path, number=300)
    assert found["raw errors"] == found["hangs"] == 0
    assert found["inputs"] == 300 and found["accepted"] > 0 and found["refused"] > 100


def broken(path):
    raise RecursionError(str(path))


def full(path):
    try:
        raise MemoryError
    except MemoryError as error:
        raise ValueError(str(path)) from error


def unnamed(path):
    raise ValueError("damaged")


def of_a_kind(path):
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, str(path))


def endless(path):
    while True:
        pass


@pytest.mark.parametrize(
    "reader, outcome",
    [(fault, "raw errors") for fault in (broken, full, unnamed, of_a_kind)] + [(endless, "hangs")],
)
def test_a_reader_that_is_at_fault_is_found(tmp_path, limits, monkeypatch, reader, outcome):
    """A raw error, a lack of memory or a hang is counted, and its file kept."""
    monkeypatch.setitem(tool.READERS, "bad", (lambda path: path.write_bytes(b"1"), reader))
    monkeypatch.setattr(tool, "SECONDS", 1)
    found = tool.fuzz("bad", seed=0, folder=tmp_path, number=2)
    assert found[outcome] == 2 and len(list((tmp_path / "bad").glob("0-*/a.wav"))) == 2


# Checkpoints. A sum that is right is no proof of a right content.


def forged(path, tensors, config):
    """Write a checkpoint with any text as its configuration, and a sum that is right."""
    save_file(tensors, path, metadata={"config": config, "sum": files._sum(tensors, config)})


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("depth", [60, 900, 960, 980, 990, 10**5])
def test_a_configuration_that_is_nested_deeply_is_refused(tmp_path, depth):
    """A configuration that is nested too deeply to be shown is refused by name."""
    path, model = tmp_path / "deep.safetensors", tool.model()
    forged(path, weights(model), '{"domain": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(ValueError, match=r"Got .*deep.safetensors.*nested|Got .*deep.*Recursion"):
        ct.load_checkpoint(path, model, {"domain": "toy"})


def test_a_number_beyond_all_floats_is_another(tmp_path):
    """A whole number that is too large for a float is not the configuration's, and said so."""
    path, model = tmp_path / "huge.safetensors", tool.model()
    forged(path, weights(model), '{"w": [1' + "0" * 400 + "]}")
    with pytest.raises(ValueError, match=r"Got .*huge.safetensors of another configuration \(w: "):
        ct.load_checkpoint(path, model, {"w": [0.5]})


@pytest.mark.parametrize(
    "changed",
    [
        lambda one: one.double() + 1e300,  # finite until it is the model's
        lambda one: one * torch.nan,
        lambda one: one.to(torch.int8),
        lambda one: one.bool(),
        lambda one: one.to(torch.complex64),
        lambda one: one[None],
    ],
)
def test_weights_that_the_model_cannot_have_are_refused(tmp_path, changed):
    """Weights of another type or shape, or not finite in the model's type, are refused."""
    path, model = tmp_path / "odd.safetensors", tool.model()
    before = weights(model)
    forged(path, {n: changed(one).contiguous() for n, one in before.items()}, "{}")
    with pytest.raises(ValueError, match=r"Got .*odd.safetensors of another configuration \(weig"):
        ct.load_checkpoint(path, model)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_a_name_that_the_system_refuses_is_said(tmp_path):
    """A path that cannot be asked for is refused like a damaged file."""
    path = tmp_path / ("x" * 300)
    for read in (files.load_tensors, journal.read_journal):
        with pytest.raises(ValueError, match=r"xxx.*name too long"):
            read(path)


# Training that is taken up


def without(state, about):
    del state["0.exp_avg"]


def of_another_shape(state, about):
    state["0.exp_avg_sq"] = torch.zeros(1)  # the optimizer read beyond it, and the process died


def with_an_empty_step(state, about):
    state["0.step"] = torch.zeros(0)


def complex_numbers(state, about):
    state["0.average"] = state["0.average"].to(torch.complex64)


def beyond_its_type(state, about):
    state["0.exp_avg"] = state["0.exp_avg"].double() + 1e300


def a_step_that_is_true(state, about):
    about["step"] = True


def no_losses(state, about):
    about["early"] = None


def a_loss_in_words(state, about):
    about["begun"] = "low"


def a_loss_beyond_all_floats(state, about):
    about["begun"] = 10**400


TAKEN_UP = [without, of_another_shape, with_an_empty_step, complex_numbers, beyond_its_type]
TAKEN_UP += [a_step_that_is_true, no_losses, a_loss_in_words, a_loss_beyond_all_floats]


@pytest.mark.parametrize("damage", TAKEN_UP)
def test_a_run_is_not_taken_up_from_what_it_did_not_write(tmp_path, damage):
    """Training refuses a state that its optimizer cannot go on from, by name and at once."""
    path = tmp_path / "run.training"
    tool.train(path)
    state, about = files.load_tensors(path)
    damage(state, about)
    forged(path, state, json.dumps(about))
    with pytest.raises(ValueError, match=r"'path' parameter of fit .* Got .*run.training"):
        tool.train(path)


def test_a_state_of_another_precision_is_taken_up_in_the_models(tmp_path):
    """A state in 64 bits goes on in the model's 32, and a loss may be a whole number."""
    path = tmp_path / "run.training"
    tool.train(path)
    state, about = files.load_tensors(path)
    about |= {"begun": 10**300, "early": [1] * len(about["early"])}
    forged(path, {n: t.double() for n, t in state.items()}, json.dumps(about))
    tool.train(path)


# Journals


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "x"
    tool.write_journal(path)
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    "name, value",
    [
        ("key", ["unhashable"]),
        ("seed", True),
        ("n", "160"),
        ("scales", None),
        ("scales", [10**400, 3]),
        ("measures", {"alignment": [1.0]}),
        ("measures", []),
        ("mode_names", "ab"),
        ("mode_share", [[[0.5]], [[0.5]]]),
        ("mode_share", [[[[0.5]]]] * 2),
        ("seconds", {"model": None}),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path, lines, name, value):
    """A line with a right sum, and a value that no record has, is named and left out."""
    path = tmp_path / "results.jsonl"
    kept = json.loads(lines[0])
    schema, _ = kept.pop("schema"), kept.pop("sum")
    kept[name] = value
    line = json.dumps({**kept, "schema": schema, "sum": journal._sum(kept)}).encode()
    path.write_bytes(line + b"\n" + b"".join(lines))
    with pytest.warns(UserWarning, match=r"results.jsonl: damaged, .* in line 1\."):
        assert len(journal.read_journal(path)) == len(lines)


def test_a_domain_may_name_its_modes_by_numbers(tmp_path, lines):
    """Names of modes may be numbers in a domain of one's own: that is no damage."""
    path = tmp_path / "results.jsonl"
    kept = json.loads(lines[0])
    schema, _ = kept.pop("schema"), kept.pop("sum")
    kept["mode_names"] = [*range(len(kept["mode_names"]))]
    line = json.dumps({**kept, "schema": schema, "sum": journal._sum(kept)}).encode()
    path.write_bytes(line + b"\n")
    assert len(journal.read_journal(path)) == 1


def test_a_folder_is_no_journal(tmp_path):
    """A folder in the place of a journal is refused before anything is run."""
    (tmp_path / "results.jsonl").mkdir()
    with pytest.raises(ValueError, match=r"'path' parameter of read_journal .*results.jsonl"):
        ct.sweep(["mixtures"], [1.0], source="exact", n=2, folder=tmp_path, progress=False)


# Sounds


def refused(folder, *parts):
    with pytest.raises(ValueError) as caught:
        sounds.read_clips(folder)
    assert all(part in str(caught.value) for part in ("a.wav (", *parts)), caught.value


def tone(n=9000):
    return np.sin(np.arange(n) * 0.3) / 2


@pytest.mark.parametrize("peak", [1e30, 3e38])
def test_samples_whose_squares_are_no_numbers_are_refused(tmp_path, peak):
    """Samples so great that clips of them would be NaN, or silent, are refused by name."""
    soundfile.write(tmp_path / "a.wav", np.float32(peak * tone()), 11025, subtype="FLOAT")
    refused(tmp_path, "samples as great as ")


def test_samples_in_the_units_of_integers_are_read(tmp_path):
    """Samples from -32768 to 32767, in a file of floats, are read like those from -1 to 1."""
    soundfile.write(tmp_path / "a.wav", np.float32(32767 * tone()), 8000, subtype="FLOAT")
    assert torch.isfinite(sounds.read_clips(tmp_path).sound).all()


def test_a_rate_that_no_sound_has_is_refused(tmp_path, limits):
    """A rate that resampling would need gigabytes for is refused by name."""
    soundfile.write(tmp_path / "a.wav", np.tile(tone(), 300), 20_999_999, subtype="PCM_U8")
    refused(tmp_path, "20999999 samples per second: not from 1000 to 1000000")


def test_a_small_file_of_endless_silence_is_refused(tmp_path, monkeypatch):
    """A FLAC of a few kilobytes that holds gigabytes of silence is given up in between."""
    soundfile.write(tmp_path / "a.wav", np.zeros(2**23), 8000, format="FLAC", subtype="PCM_16")
    assert (tmp_path / "a.wav").stat().st_size < 30_000
    monkeypatch.setattr(sounds, "MOST_SAMPLES", 2**21)
    refused(tmp_path, "more than 2097152 samples: cut it into parts")


def test_a_place_before_the_file_prints_nothing(tmp_path, limits, capsys):
    """A header that leads to a place before the file is refused, and no traceback is printed."""
    soundfile.write(tmp_path / "a.wav", tone(), 11025, format="AIFF", subtype="PCM_16")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[38:42] = b"\xff" * 4
    (tmp_path / "a.wav").write_bytes(content)
    refused(tmp_path, "unreadable")
    assert capsys.readouterr().err == ""


def test_copies_of_two_recordings_are_a_domain_without_nan(tmp_path):
    """Folders that hold copies of one recording each give finite numbers."""
    for name, pitch in (("high", 0.9), ("low", 0.3)):
        (tmp_path / name).mkdir()
        for i in range(5):
            soundfile.write(tmp_path / name / f"{i}.wav", np.sin(np.arange(8192) * pitch), 8000)
    domain = ct.Recordings(tmp_path)
    assert torch.isfinite(domain.data(8).x).all() and domain.limit >= 0
    assert all(torch.isfinite(part).all() for part in domain.basis)


def test_copies_of_one_recording_are_no_domain(tmp_path):
    """A folder in which all recordings are the same is refused by name."""
    for i in range(5):
        soundfile.write(tmp_path / f"{i}.wav", tone(), 8000)
    with pytest.raises(ValueError, match=rf"'folder' parameter of Recordings.*{tmp_path.name}"):
        ct.Recordings(tmp_path)
