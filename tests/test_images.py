"""Photographs: the archive and its builder, the reader of garments, the exact model, pictures."""

import hashlib

import numpy as np
import pytest
import torch
from toys import ROOT, loaded

import cfg_tutorial as ct
from cfg_tutorial import measures
from cfg_tutorial.domains import images

ARCHIVE = ROOT / "data" / "fashion16.npz"


@pytest.fixture(scope="module")
def domain():
    return ct.load("images")


@pytest.fixture(scope="module")
def builder():
    return loaded("data/builders/build_fashion16.py")


@pytest.fixture(scope="module")
def held_out():
    """All held-out photographs as the domain's x (2400, 1, 16, 16), and their garments."""
    source = images.photographs("held_out")
    x = images.from_pixels(source).flatten(0, 1).unsqueeze(1)
    return x, torch.arange(8).repeat_interleave(source.shape[1])


# The archive


def test_archive_is_the_one_whose_checksums_are_published():
    text = (ROOT / "data" / "fashion16.LICENSE.md").read_text(encoding="utf-8")
    assert hashlib.sha256(ARCHIVE.read_bytes()).hexdigest() in text
    with np.load(ARCHIVE, allow_pickle=False) as archive:
        assert archive["train"].shape == (8, 1500, 16, 16)
        assert archive["held_out"].shape == (8, 300, 16, 16)
        assert sorted(archive["names"]) == sorted(images.GARMENTS)
        for part in ("train", "held_out"):
            assert archive[part].dtype == np.uint8
            assert hashlib.sha256(archive[part].tobytes()).hexdigest() in text


def test_no_held_out_photograph_is_among_the_training_ones():
    train, held_out = (
        {picture.tobytes() for picture in images.photographs(part).flatten(0, 1).numpy()}
        for part in ("train", "held_out")
    )
    assert not train & held_out


def test_rebuilding_gives_the_same_archive(builder, tmp_path):
    if not builder.SOURCE.is_dir():
        pytest.skip(f"no Fashion-MNIST files in {builder.SOURCE}: install dataset-fashion-mnist")
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    arrays = builder.build(builder.SOURCE, first)
    builder.build(builder.SOURCE, second)
    assert first.read_bytes() == second.read_bytes()
    with np.load(ARCHIVE, allow_pickle=False) as shipped:
        assert sorted(shipped) == sorted(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, shipped[name])


def test_shrinking_averages_and_frames(builder):
    photograph = np.zeros((1, 28, 28), np.uint8)
    photograph[0, :2, :2] = [[255, 255], [255, 253]]  # mean 254.5, which rounds up
    photograph[0, 26:, 26:] = [[1, 0], [0, 0]]  # mean .25
    photograph[0, 2, 0] = 8
    small = builder.shrink(photograph)
    assert small.shape == (1, 16, 16) and small.dtype == np.uint8
    expected = np.zeros((16, 16))
    expected[1, 1], expected[2, 1] = 255, 2
    np.testing.assert_array_equal(small[0], expected)


def test_a_file_that_is_not_idx_is_refused(builder, tmp_path):
    path = tmp_path / "wrong.gz"
    path.write_bytes(builder.gzip.compress(b"not an idx file"))
    with pytest.raises(ValueError, match="wrong.gz"):
        builder.read_idx(path)


# The data


def test_domain_keeps_the_contract(domain):
    passed = ct.check_domain(domain)
    assert "class 1: exact samples follow the law" in passed


def test_data_have_the_promised_scale(domain):
    x = domain.data(4000, seed=0).x
    assert x.shape == (4000, 1, 16, 16) and x.dtype == torch.float32
    assert abs(x.mean()) < 0.05
    assert abs(x.square().mean().sqrt() - domain.diffusion.sigma_data) < 0.02


@pytest.mark.parametrize("held_out", [False, True])
def test_shares_of_modes_follow_the_weights(domain, held_out):
    n = 8000
    batch = domain.data(n, seed=4, held_out=held_out)
    counts = torch.bincount(batch.label * 8 + batch.mode, minlength=16)
    expected = n * domain.mode_weights.flatten() / 2
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert 3.5 < chi_square < 44  # 15 degrees of freedom: 1 in 1,000 is below, 1 in 10,000 above


def test_stratified_data_have_the_exact_shares(domain):
    batch = domain.data(128, seed=4, stratified=True)
    counts = torch.bincount(batch.label * 8 + batch.mode, minlength=16)
    assert ((counts - 64 * domain.mode_weights.flatten()).abs() < 1).all()


def test_photographs_are_of_the_mode_and_of_the_right_part(domain):
    parts = {
        held_out: images.photographs("held_out" if held_out else "train").flatten(2).float()
        for held_out in (False, True)
    }
    for held_out, source in parts.items():
        batch = domain.data(200, seed=5, held_out=held_out)
        pixels = 255 * images.to_pixels(batch.x).flatten(1)
        for picture, mode in zip(pixels, batch.mode, strict=True):
            assert (source[mode] - picture).abs().amax(1).min() < 1e-2
            assert (parts[not held_out][mode] - picture).abs().amax(1).min() >= 1


def test_every_photograph_of_a_mode_is_drawn_equally_often(domain):
    batch = domain.data(6000, seed=6, held_out=True)
    pixels = (255 * images.to_pixels(batch.x[batch.mode == 0])).round().flatten(1)
    source = images.photographs("held_out")[0].flatten(1).float()
    counts = torch.bincount(torch.cdist(pixels, source).argmin(1), minlength=300)
    mean = len(pixels) / 300
    assert 200 < ((counts - mean) ** 2 / mean).sum() < 410  # 299 degrees of freedom


def test_weights_are_an_argument():
    weights = torch.eye(8)[[2, 5, 7]]
    domain = ct.load("images", mode_weights=weights)
    batch = domain.data(60, seed=0)
    assert torch.equal(batch.mode, torch.tensor([2, 5, 7])[batch.label])
    assert domain.class_names == ["class 0", "class 1", "class 2"]
    assert (domain.assign(batch.x) == batch.mode).double().mean() > 0.9
    with pytest.raises(ValueError, match=r"mode_weights.*8.*\(2, 4\)"):
        ct.load("images", mode_weights=torch.full((2, 4), 0.25))


def test_story(domain):
    assert domain.class_names == ["summer", "winter"]
    heaviest = [domain.mode_names[k] for k in domain.mode_weights.argmax(1)]
    assert heaviest == ["T-shirt", "boot"]


# The reader


def test_reader_is_right_on_held_out_photographs(domain, held_out):
    x, garment = held_out
    read = domain.assign(x)
    valid = read >= 0
    assert 0.98 <= valid.double().mean() < 1
    assert (read == garment)[valid].double().mean() >= 0.94


def test_reader_did_not_see_what_it_is_judged_on():
    seen = images.photographs("train")[:, : images.NUM_READ].flatten(2).double() / 255
    torch.testing.assert_close(images.reader().means, seen.mean(1))
    copied = images.to_pixels(ct.load("images").exact().means.float())
    spared = images.photographs("train")[:, images.NUM_READ :].flatten(2).flatten(0, 1) / 255
    torch.testing.assert_close(copied, spared)


def test_confusion_is_the_table_of_held_out_readings(domain, held_out):
    x, garment = held_out
    read = domain.assign(x)
    for true in range(8):
        of_mode = read[(garment == true) & (read >= 0)]
        shares = [(of_mode == k).double().mean() for k in range(8)]
        torch.testing.assert_close(domain.confusion[true], torch.stack(shares))


def test_correction_finds_the_true_shares(domain):
    batch = domain.data(4000, seed=3, held_out=True)
    counts = torch.bincount(domain.assign(batch.x)[batch.label == 0].clamp(min=-1) + 1, minlength=9)
    corrected = measures.correct_counts(counts[1:].double(), domain.confusion)
    share = corrected / corrected.sum()
    assert (share - domain.mode_weights[0]).abs().max() < 0.035


def junk(kind, x):
    """Pictures that are no photographs, of the same number as the photographs x."""
    generator = torch.Generator().manual_seed(0)
    pixels = images.to_pixels(x)
    order = torch.randperm(256, generator=generator)
    noise = torch.randn(x.shape, generator=generator)
    return images.GAIN * (
        {
            "black": torch.zeros_like(x),
            "grey": torch.full_like(x, 0.5),
            "noise": torch.rand(x.shape, generator=generator),
            "inverted": 1 - pixels,
            "pixels in another order": pixels.flatten(1)[:, order].view_as(x),
            "a tenth of noise": pixels + 0.1 * noise,
            "three pixels aside": pixels.roll(3, 2),
            "two halves": torch.cat([pixels[:, :, :8], pixels.roll(301, 0)[:, :, 8:]], 2),
            "two photographs averaged": (pixels + pixels.roll(301, 0)) / 2,
        }[kind]
        - images.CENTRE
    )


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("black", 0),
        ("grey", 0),
        ("noise", 0),
        ("inverted", 0),
        ("pixels in another order", 0.01),
        ("a tenth of noise", 0.15),
        ("three pixels aside", 0.4),
        ("two halves", 0.7),
        ("two photographs averaged", 0.9),  # an honest limit: most look like some garment
    ],
)
def test_junk_is_rejected(domain, held_out, kind, most):
    accepted = (domain.assign(junk(kind, held_out[0][::4])) >= 0).double().mean()
    assert accepted <= most


def test_what_is_not_finite_has_no_mode(domain, held_out):
    x = held_out[0][:40].clone()
    expected = domain.assign(x)
    for row, value in enumerate((torch.nan, torch.inf, -torch.inf)):
        x[row, 0, 8, 8] = value
    read = domain.assign(x)
    assert read[:3].tolist() == [-1, -1, -1] and torch.equal(read[3:], expected[3:])
    assert (expected[:3] >= 0).all()
    assert domain.assign(torch.full((2, 1, 16, 16), torch.nan)).tolist() == [-1, -1]


def test_a_reading_depends_on_its_picture_alone(domain, held_out):
    x = held_out[0][::60]
    whole = domain.assign(x)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    assert torch.equal(domain.assign(x[order].double()), whole[order])
    assert torch.equal(domain.assign(x[5:6]), whole[5:6])
    assert len(whole.unique()) >= 8


def test_pictures_are_read_as_shown(domain, held_out):
    x = held_out[0][::60]
    beyond = torch.where(images.to_pixels(x) == 0, x - 3, x)
    assert torch.equal(domain.assign(beyond), domain.assign(x))


# Measures


def test_saturation_is_the_share_of_pixels_beyond_the_limits(domain, held_out):
    x = held_out[0][:10]
    assert domain.extra_measures(x, 0) == {"saturation": 0}
    x = x.clone()
    x[:, :, :4] = images.GAIN * (1.03 - images.CENTRE)
    x[:, :, 4:8] = images.GAIN * (-0.03 - images.CENTRE)
    x[:, :, 8:] = images.GAIN * (1.01 - images.CENTRE)
    assert domain.extra_measures(x, 0) == {"saturation": 0.5}


def test_features_are_principal_components():
    source = images.photographs("train")[:, : images.NUM_READ].flatten(0, 1).unsqueeze(1)
    features = ct.load("images").features(images.from_pixels(source)).double()
    assert features.shape == (8 * images.NUM_READ, 32)
    covariance = torch.cov(features.T)
    variances = covariance.diag()
    assert (variances.diff() < 0).all()
    assert (covariance - variances.diag()).abs().max() < 1e-3 * variances[-1]
    total = (source.flatten(1).double() / 255).var(0).sum()
    assert 0.85 < variances.sum() / total < 1


# The exact model


def test_exact_model_copies_its_photographs(domain):
    model = domain.exact()
    for scale in (1.0, 3.0):
        x = domain.sample(ct.guided(model, scale), label=0, n=24, seed=1)
        assert torch.cdist(x.flatten(1), model.means.float()).amin(1).max() < 0.05


def test_guidance_moves_the_exact_model_as_it_should(domain):
    model, n = domain.exact(), 160
    scales = torch.tensor([0.0, 1.0, 5.0]).repeat_interleave(n)
    rows = torch.arange(n).repeat(3)
    alignment, modes = [], []
    for label in (0, 1):
        x = domain.sample(ct.guided(model, scales), label=label, n=3 * n, rows=rows)
        measured = [domain.measure(part, label) for part in x.split(n)]
        assert min(m.validity for m in measured) > 0.95
        alignment.append([m.alignment for m in measured])
        modes.append([m.effective_modes for m in measured])
    for values in (alignment, modes):
        values[:] = np.mean(values, 0)
    share = domain.mode_weights[0] / domain.mode_weights.sum(0)
    prior, own = 0.5, (domain.mode_weights[0] * share).sum()
    assert abs(alignment[0] - prior) < 0.06 and abs(alignment[1] - own) < 0.06
    assert alignment[2] > own + 0.1
    assert modes[0] > modes[1] > modes[2] + 2


# Training, in two steps


def test_recipe_trains_and_the_weights_change_with_the_seed(domain, tmp_path):
    label = torch.tensor([0, 1])
    x = domain.data(2, seed=0).x
    answers = []
    for seed in (0, 1):
        model = domain.train(seed=seed, train_steps=2, folder=tmp_path, progress=False)
        with torch.no_grad():
            answers.append(model(x, torch.tensor(1.0), label))
    assert torch.isfinite(torch.stack(answers)).all()
    assert not torch.equal(*answers)


# Pictures


def test_figure_names_what_is_read_and_crosses_out_the_rest(domain, held_out):
    x = held_out[0][::300].clone()
    x[2] = torch.nan
    x[4] = 3
    figure = domain.show(x, label=1, columns=4)
    read = domain.assign(x).tolist()
    assert read[2] == read[4] == -1
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["invalid" if k < 0 else domain.mode_names[k] for k in read]
    assert [len(ax.lines) for ax in figure.axes] == [int(k < 0) for k in read]
    shown = figure.axes[0].images[0]
    np.testing.assert_allclose(shown.get_array(), images.to_pixels(x[0, 0]), atol=1e-6)
    assert shown.get_clim() == (0, 1)
    assert "winter" in figure.get_suptitle()


def test_figure_has_a_limit(domain, held_out):
    figure = domain.show(held_out[0][:50], limit=6, columns=4)
    assert sum(bool(ax.images) for ax in figure.axes) == 6
    assert len({ax.title.get_color() for ax in domain.show(held_out[0][::300]).axes}) > 4
