"""Training that can be cut short anywhere, and files that are whole or not there."""

import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import cfg_tutorial as ct
from cfg_tutorial import files, training

RUN = dict(train_steps=12, lr=1e-2, warmup=4, ema=0.9, checkpoint_every=5, progress=False)
CONFIG = {"domain": "toy", "weights": [0.25, 0.75]}
SETTINGS = {"seed": 3, "path": None, "config": CONFIG}


class Toy(nn.Module):
    num_classes = null_label = 2
    p_uncond = 0.3

    def __init__(self, width=5):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, 2))
        self.label = nn.Embedding(3, 2)
        self.labels = []

    def forward(self, x, level, label):
        self.labels.append(label)
        return self.net(x / (1 + level[:, None])) + self.label(label)


def batches(step_seed):
    generator = torch.Generator().manual_seed(step_seed)
    label = torch.randint(2, (16,), generator=generator)
    return torch.randn(16, 2, generator=generator) + label[:, None], label


def stopping_at(number, error):
    """Return batches that raise an error at the call of that number, from 0."""
    calls = iter(range(10_000))

    def interrupted(step_seed):
        if next(calls) == number:
            raise error
        return batches(step_seed)

    return interrupted


def fit(model=None, batches=batches, **changed):
    return ct.fit(model or Toy(), batches, ct.Gaussian(), **{**RUN, **SETTINGS, **changed})


def same(a, b):
    return training.weights_hash(a) == training.weights_hash(b)


def test_training_is_a_function_of_its_seed():
    once, again, other = fit(), fit(), fit(seed=4)
    assert same(once, again) and not same(once, other) and not same(once, Toy())
    assert not once.training


def test_training_does_not_use_the_global_generator():
    model = Toy()
    torch.manual_seed(5)
    once = fit(model)
    assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(5)))
    other = Toy()
    torch.manual_seed(6)
    assert same(once, fit(other))


def test_training_learns():
    diffusion = ct.Gaussian()
    x0, label = batches(10**6)

    def loss(model):
        with torch.no_grad():
            return diffusion.loss(model, x0, label, torch.Generator().manual_seed(0)).item()

    assert loss(fit(train_steps=300, ema=0.95)) < 0.8 * loss(Toy())


@pytest.mark.parametrize("stop", [6, 9, 10, 11])
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, stop):
    path = tmp_path / "run.training"
    with pytest.raises(KeyboardInterrupt):
        fit(batches=stopping_at(stop, KeyboardInterrupt()), path=path)
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["config"])["step"] == stop // 5 * 5
    seeds = []

    def watched(step_seed):
        seeds.append(step_seed)
        return batches(step_seed)

    assert same(fit(batches=watched, path=path), fit())
    assert len(seeds) == 12 - stop // 5 * 5


def test_a_run_can_be_interrupted_again_and_again(tmp_path):
    path = tmp_path / "run.training"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(batches=stopping_at(6, KeyboardInterrupt()), path=path, train_steps=17)
    assert same(fit(path=path, train_steps=17), fit(train_steps=17))


def test_an_interrupt_before_the_first_checkpoint_leaves_no_file(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(batches=stopping_at(3, KeyboardInterrupt()), path=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changed", [{"lr": 2e-2}, {"seed": 4}, {"ema": 0.5}, {"train_steps": 13}])
def test_a_checkpoint_of_another_run_is_refused_and_kept(tmp_path, changed):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(batches=stopping_at(6, KeyboardInterrupt()), path=path)
    content, model = path.read_bytes(), Toy()
    with pytest.raises(ValueError, match="'path' parameter of fit .* another configuration"):
        fit(model, path=path, **changed)
    with pytest.raises(ValueError, match="'path' parameter of fit .* another configuration"):
        fit(model, path=path, config={"domain": "other"})
    assert path.read_bytes() == content and same(model, Toy())


def test_a_checkpoint_of_another_warm_up_is_refused(tmp_path):
    # Else the rerun would end in the weights of neither.
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(batches=stopping_at(6, KeyboardInterrupt()), path=path)
    with pytest.raises(ValueError, match="'path' parameter of fit"):
        fit(path=path, warmup=9)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(batches=stopping_at(6, KeyboardInterrupt()), path=path)
    model = Toy(width=7)
    before = training.weights_hash(model)
    with pytest.raises(ValueError, match="'path' parameter of fit"):
        fit(model, path=path)
    assert training.weights_hash(model) == before


def test_labels_are_dropped_in_training():
    model = Toy()
    fit(model, train_steps=60)
    labels = torch.cat(model.labels)
    rate = (labels == 2).double().mean().item()
    assert rate == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / len(labels)) ** 0.5)
    assert not all((row == 2).all() or (row != 2).all() for row in model.labels)


def poisoned(number):
    """Return batches of which one, by its number from 0, is NaN."""
    calls = iter(range(10_000))

    def some(step_seed):
        x0, label = batches(step_seed)
        return (x0 * torch.nan if next(calls) == number else x0), label

    return some


@pytest.mark.parametrize("at", [0, 3, 11])
def test_a_loss_that_is_not_finite_is_an_error(at):
    with pytest.raises(FloatingPointError, match="loss"):
        fit(batches=poisoned(at))


def test_a_loss_that_is_not_finite_spoils_no_checkpoint(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(FloatingPointError):
        fit(batches=poisoned(7), path=path, train_steps=30)
    with safe_open(path, framework="pt") as file:
        assert all(file.get_tensor(name).isfinite().all() for name in file.keys())  # noqa: SIM118
    assert same(fit(path=path, train_steps=30), fit(train_steps=30))


# Checkpoints


def test_a_checkpoint_comes_back(tmp_path):
    path, model = tmp_path / "deep" / "toy.safetensors", fit()
    ct.save_checkpoint(path, model, CONFIG)
    other = Toy()
    assert ct.load_checkpoint(path, other) == CONFIG
    assert same(other, model)
    assert ct.load_checkpoint(path, other, {"domain": "toy"}) == CONFIG
    assert [p.name for p in path.parent.iterdir()] == ["toy.safetensors"]


def truncated(path, content):
    path.write_bytes(content[:-20])


def cut_in_the_header(path, content):
    path.write_bytes(content[:30])


def empty(path, content):
    path.write_bytes(b"")


def a_pickle(path, content):
    torch.save({"net": torch.zeros(3)}, path)


def without_configuration(path, content):
    save_file(Toy().state_dict(), path)


def with_a_torn_configuration(path, content):
    save_file(Toy().state_dict(), path, metadata={"config": '{"domain": '})


def of_another_network(path, content):
    ct.save_checkpoint(path, Toy(width=9), CONFIG)


def with_other_names(path, content):
    ct.save_checkpoint(path, nn.Linear(2, 2), CONFIG)


DAMAGES = [
    truncated,
    cut_in_the_header,
    empty,
    a_pickle,
    without_configuration,
    with_a_torn_configuration,
    of_another_network,
    with_other_names,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_checkpoint_is_one_clear_error(tmp_path, damage):
    """A damaged checkpoint is one error that names file and reason; model and file stay.

    Before: 1,567 of 75,600 ended in errors without a file's name.
    """
    path = tmp_path / "toy.safetensors"
    ct.save_checkpoint(path, fit(), CONFIG)
    damage(path, path.read_bytes())
    content, model = path.read_bytes(), Toy()
    with pytest.raises(ValueError, match="parameter of load_checkpoint must be .* Got .*toy.safe"):
        ct.load_checkpoint(path, model, CONFIG)
    assert path.read_bytes() == content and same(model, Toy())
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", DAMAGES[:6])
def test_training_does_not_go_on_from_a_bad_checkpoint(tmp_path, damage):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(batches=stopping_at(6, KeyboardInterrupt()), path=path)
    damage(path, path.read_bytes())
    content, model = path.read_bytes(), Toy()
    with pytest.raises(ValueError, match="Got .*run"):
        fit(model, path=path)
    assert path.read_bytes() == content and same(model, Toy())


def test_another_configuration_names_what_differs(tmp_path):
    path, model = tmp_path / "toy.safetensors", Toy()
    ct.save_checkpoint(path, fit(), CONFIG)
    with pytest.raises(ValueError, match=r"domain: file toy, wanted texts"):
        ct.load_checkpoint(path, model, {**CONFIG, "domain": "texts"})
    with pytest.raises(ValueError, match=r"seed: file None, wanted 5"):
        ct.load_checkpoint(path, model, {**CONFIG, "seed": 5})
    assert same(model, Toy())


def test_a_checkpoint_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors"):
        ct.load_checkpoint(tmp_path / "nowhere.safetensors", Toy())
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path, model = tmp_path / "toy.safetensors", fit()
    ct.save_checkpoint(path, model, CONFIG)
    content = path.read_bytes()

    def full_disk(tensors, where, metadata):
        with open(where, "wb") as file:
            file.write(b"half a file")
        raise OSError("No space left on device")

    monkeypatch.setattr(files, "save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        ct.save_checkpoint(path, Toy(), CONFIG)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["toy.safetensors"]


def test_weights_have_one_hash():
    model = Toy()
    before = training.weights_hash(model)
    assert before == training.weights_hash(Toy()) and len(before) == 64
    with torch.no_grad():
        model.label.weight[0, 0] += 1e-6
    assert training.weights_hash(model) != before


# domain.train


def test_a_domain_keeps_what_it_trained(tmp_path):
    domain = ct.load("mixtures")
    settings = dict(train_steps=3, batch_size=32, folder=tmp_path, progress=False)
    model = domain.train(seed=0, **settings)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    again = domain.train(seed=0, **settings)
    assert same(model, again) and path.stat().st_mtime_ns == written
    assert not again.training and again.p_uncond == domain.p_uncond > 0
    other = domain.train(seed=1, **settings)
    longer = domain.train(seed=0, **{**settings, "train_steps": 4})
    assert len({training.weights_hash(m) for m in (model, other, longer)}) == 3
    assert len(list(tmp_path.iterdir())) == 3


KINDS = {
    "mixtures": {},
    "images": {},
    "text": {},
    "text, prompt": {"prompt": True},
    "text, autoregressive": {"autoregressive": True},
    "audio": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_domain_goes_on_where_it_was_cut_short(kind, tmp_path, monkeypatch):
    domain = ct.load(kind.split(",")[0], **KINDS[kind])
    settings = dict(train_steps=6, batch_size=16, checkpoint_every=2, progress=False)
    whole = domain.train(seed=0, folder=tmp_path / "whole", **settings)
    batch, calls = type(domain).training_batch, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return batch(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(type(domain), "training_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            domain.train(seed=0, folder=tmp_path / "cut", **settings)
    (path,) = (tmp_path / "cut").iterdir()
    assert path.suffix == ".training"
    assert same(domain.train(seed=0, folder=tmp_path / "cut", **settings), whole)
    (path,) = (tmp_path / "cut").iterdir()
    assert path.suffix == ".safetensors"


def test_training_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    ct.load("mixtures").train(train_steps=2, batch_size=8, folder=tmp_path, progress=False)
    assert torch.equal(torch.rand(1), expected)


# What must not be kept


class Noisy(Toy):
    """A network with dropout, a batch norm, whose buffers are no weights, and tied weights."""

    def __init__(self):
        super().__init__(2)
        self.norm, self.drop = nn.BatchNorm1d(2), nn.Dropout(0.3)
        self.net[2].weight = self.net[0].weight

    def forward(self, x, level, label):
        return self.drop(self.norm(super().forward(x, level, label)))


@pytest.mark.parametrize("stop", [6, 9, 11])
def test_dropout_batch_norms_and_tied_weights_go_on_bit_for_bit(tmp_path, stop):
    """Networks with dropout, batch norms or tied weights go on bit for bit after a stop.

    Before: predictions were .11 off, and tied weights could not be saved.
    """
    whole = fit(Noisy())
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(Noisy(), stopping_at(stop, KeyboardInterrupt()), path=path)
    torch.rand(stop)  # the process has drawn other numbers since
    resumed = fit(Noisy(), path=path)
    assert same(resumed, whole)
    ct.save_checkpoint(tmp_path / "whole", whole, CONFIG)
    other = Noisy()
    ct.load_checkpoint(tmp_path / "whole", other, CONFIG)
    assert same(other, whole) and other.net[2].weight is other.net[0].weight


@pytest.mark.parametrize("lr", [1.0, 10.0, 100.0])
def test_training_that_diverges_is_not_kept(tmp_path, lr):
    """A learning rate far too high is an error, and nothing is kept.

    Before: samples were NaN, and the weights kept.
    """
    domain = ct.load("mixtures")
    with pytest.raises(FloatingPointError, match="lower lr"):
        domain.train(folder=tmp_path, train_steps=400, lr=lr, progress=False)
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("at", [4, 11])
def test_a_gradient_that_is_not_a_number_spoils_no_checkpoint_and_no_model(tmp_path, at):
    """A gradient that is no number ends training; the last good checkpoint stays.

    Before: it overwrote the good checkpoint.
    """

    class Spoiled(ct.Gaussian):
        def loss(self, model, x0, label, generator=None):
            self.calls += [1] * model.training  # steps alone
            loss = super().loss(model, x0, label, generator)
            if (
                model.training and len(self.calls) == at + 1
            ):  # sqrt has no slope at 0: a finite loss, a NaN gradient
                loss = loss + (0 * model.net[0].weight).sqrt().sum()
            return loss

    spoiled = Spoiled()
    object.__setattr__(spoiled, "calls", [])
    path = tmp_path / "run"
    with pytest.raises(FloatingPointError, match=r"weights: lower lr"):
        ct.fit(Toy(), batches, spoiled, **{**RUN, **SETTINGS, "path": path})
    assert path.exists() == (at > 4)
    assert same(fit(path=path), fit())


def test_data_that_are_not_finite_are_said_to_be():
    """Where data are NaN the error says to mend the data.

    Before: it said to lower lr.
    """
    with pytest.raises(FloatingPointError, match="step 3 .*mend the data"):
        fit(batches=poisoned(3), train_steps=4)


@pytest.mark.parametrize(
    "changed",
    [
        {"step": 10**9}, {"step": 12}, {"step": 0}, {"step": -5}, {"step": "5"}, {"step": 5.5},
        {"seed": 4}, {"lr": 1.0}, {"warmup": 5}, {"config": []},
    ],
)  # fmt: skip
def test_an_edited_checkpoint_of_training_is_refused(tmp_path, changed):
    """A checkpoint whose step or recipe was edited is refused by name.

    Before: step 10**9 saved a half-trained model as finished.
    """
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(batches=stopping_at(7, KeyboardInterrupt()), path=path)
    tensors, about = files.load_tensors(path)
    files.save_tensors(path, tensors, {**about, **changed} if "config" not in changed else [])
    with pytest.raises(ValueError, match="delete it"):
        fit(path=path)


def test_a_checkpoint_with_a_flipped_bit_is_refused(tmp_path):
    """One flipped bit in a checkpoint is seen.

    Before: it was loaded.
    """
    path = tmp_path / "one"
    ct.save_checkpoint(path, Toy(), CONFIG)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"one.*not what was written"):
        ct.load_checkpoint(path, Toy(), CONFIG)


def test_a_checkpoint_of_another_version_of_files_is_refused(tmp_path, monkeypatch):
    """A checkpoint that a later release wrote is refused with both versions.

    Before: files had no version.
    """
    path = tmp_path / "one"
    with monkeypatch.context() as later:
        later.setattr(files, "SCHEMA", "2")
        ct.save_checkpoint(path, Toy(), CONFIG)
    with pytest.raises(ValueError, match=r"one.*has version 2 of these files, and 1 is read here"):
        ct.load_checkpoint(path, Toy(), CONFIG)


def test_any_luck_in_a_network_is_that_of_its_step(tmp_path):
    """A network that draws in its forward, by no module, goes on bit for bit after a stop.

    Before: modules of dropout alone did.
    """

    class Lucky(Toy):
        def forward(self, x, level, label):
            return nn.functional.dropout(super().forward(x, level, label), 0.3, self.training)

    def run(**how):
        return ct.fit(Lucky(), how.pop("batches", batches), ct.Gaussian(),
                      **{**RUN, **SETTINGS, **how})  # fmt: skip

    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(batches=stopping_at(7, KeyboardInterrupt()), path=path)
    torch.rand(3)
    assert same(run(path=path), run())


def test_labels_of_another_number_are_refused():
    """One label for many rows, or a column of them, is named, and not broadcast.

    Before: training went on with it.
    """
    for cut in (lambda label: label[:1], lambda label: label[:, None]):
        with pytest.raises(ValueError, match="'label' parameter of fit"):
            fit(batches=lambda step, cut=cut: (batches(step)[0], cut(batches(step)[1])))


@pytest.mark.parametrize("kind", ["nan", "int8"])
def test_weights_that_are_no_numbers_or_of_another_type_are_refused(tmp_path, kind):
    """Weights that are NaN or int8 are refused.

    Before: they were loaded.
    """
    state = Toy().state_dict()
    state["label.weight"] = (state["label.weight"] * torch.nan if kind == "nan"
                             else state["label.weight"].to(torch.int8))  # fmt: skip
    files.save_tensors(tmp_path / "one", state, CONFIG)
    with pytest.raises(ValueError, match="weights: file"):
        ct.load_checkpoint(tmp_path / "one", Toy(), CONFIG)


def test_numbers_of_other_kinds_are_numbers(tmp_path):
    given = {"seed": np.int64(3), "train_steps": torch.tensor(12), "lr": np.float64(1e-2)}
    given |= {"warmup": np.int32(4), "checkpoint_every": np.uint8(5), "ema": np.float32(0.9)}
    config = {**CONFIG, "array": np.float32(0.5)}
    found = fit(**given, path=tmp_path / "run", config=config)
    assert same(found, fit(ema=float(np.float32(0.9))))
    model = ct.load("mixtures").train(np.int64(1), np.int64(30), tmp_path, progress=False)
    assert same(model, ct.load("mixtures").train(1, 30, tmp_path / "b", progress=False))


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"train_steps": 1.5}, "'train_steps' parameter of fit must be an int >= 1. Got 1.5"),
        ({"seed": 1.5}, "'seed' parameter of fit must be an int. Got 1.5"),
        ({"warmup": "4"}, "'warmup' parameter of fit must be an int. Got '4'"),
        ({"checkpoint_every": 0}, "'checkpoint_every' parameter"),
        ({"lr": 0}, "'lr' parameter"),
        ({"lr": math.nan}, "'lr' parameter"),
        ({"warmup": -1}, "'warmup' and 'ema' parameters"),
        ({"ema": 1}, "'warmup' and 'ema' parameters"),
        ({"model": ct.wrap(nn.Linear(2, 2), num_classes=2)}, "must have p_uncond"),
        ({"model": ct.wrap(nn.Identity(), num_classes=2, p_uncond=0.1)}, "must have weights"),
    ],
)
def test_what_cannot_be_trained_is_said_at_once(changed, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        fit(**changed)


def test_no_warm_up():
    assert not same(fit(warmup=0), fit(warmup=4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_every_type_have_a_hash(dtype):
    one, other = Toy().to(dtype), Toy().to(dtype)
    assert same(one, other)
    with torch.no_grad():
        other.label.weight[0, 0] += 1
    assert not same(one, other)
    assert training.weights_hash(lambda x, level, label: x) == ""


def test_what_a_killed_process_left_is_cleared(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    old = tmp_path / f"one.{dead}-1.partial"
    mine = tmp_path / f"one.{os.getpid()}-1.partial"
    for path in (old, mine):
        path.write_bytes(b"half")
    files.write_text(tmp_path / "one", "whole")
    assert not old.exists() and mine.exists()  # the second belongs to a process that still runs
