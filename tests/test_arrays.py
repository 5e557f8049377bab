"""Arrays of one's own as a domain: what follows from them, and what they may not be."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import datasets
from torch import nn
from toys import message

import cfg_tutorial as ct
from cfg_tutorial.domains import given

CENTRES = torch.tensor([[0.0, 0], [4, 0], [0, 4], [4, 4]])
SHARES = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])


def points(n=400, seed=0, scale=1.0):
    """Return x (n, 2), label (n,) and mode (n,) of four heaps that two classes share."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 2
    mode = torch.multinomial(SHARES[label], 1, generator=generator)[:, 0]
    x = CENTRES[mode] + 0.2 * torch.randn(n, 2, generator=generator)
    return scale * x + 7, label, mode


def digits():
    found = datasets.load_digits()
    return found.images[:900], found.target[:900] % 2, found.target[:900]


def tokens(n=300, seed=0):
    """Return rows of four words with gaps between their numbers: the first is the mode's."""
    generator = np.random.default_rng(seed)
    label = np.arange(n) % 2
    mode = generator.integers(0, 3, n)
    x = np.stack([10 * mode, 100 + generator.integers(0, 2, n), 50 + label, 10 * mode], 1)
    return x, label, mode


def own(*data, **how):
    return ct.from_arrays(*data, quiet=True, **how)


@pytest.mark.parametrize(
    "data, how, kind, shape",
    [
        (points(), {}, "points", (2,)),
        (points()[:2], {"num_modes": 4}, "points", (2,)),
        (digits(), {}, "pictures", (1, 8, 8)),
        (tokens(), {}, "tokens", (4,)),
        (tokens()[:2], {"num_modes": 3}, "tokens", (4,)),
    ],
    ids=["points", "found", "pictures", "tokens", "found tokens"],
)
def test_it_is_a_domain(data, how, kind, shape):
    domain = own(*data, **how)
    assert (domain.kind, domain.shape) == (kind, shape)
    assert len(ct.check_domain(domain)) > 25
    again = pickle.loads(pickle.dumps(domain))
    assert again.key() == domain.key()
    assert torch.equal(again.data(9).x, domain.data(9).x)


def test_a_fifth_is_held_out_and_no_copy_of_it_is_trained_on():
    x, label, mode = points()
    x = torch.cat([x, x[:100]])  # with copies
    domain = own(x, torch.cat([label, label[:100]]), torch.cat([mode, mode[:100]]))
    train, held_out = ({tuple(row) for row in domain.rows[p].x.tolist()} for p in (False, True))
    assert not train & held_out
    assert len(domain.rows[False].x) + len(domain.rows[True].x) == 500
    assert 0.1 < len(domain.rows[True].x) / 500 < 0.2
    drawn = {tuple(row) for row in domain.data(3000, held_out=True).x.tolist()}
    assert drawn == held_out


def test_weights_are_the_shares_of_each_class():
    _, label, mode = points()
    table = torch.zeros(2, 4, dtype=torch.float64).index_put_(
        (label, mode), torch.ones(400).double(), accumulate=True
    )
    domain = own(*points())
    torch.testing.assert_close(domain.mode_weights, table / 200)
    other = own(*points(), mode_weights=SHARES)
    torch.testing.assert_close(other.mode_weights, SHARES.double())


def test_labels_may_be_strings_have_gaps_or_be_of_pandas():
    x, label, mode = points()
    names = np.array(["cold", "warm"])[label]
    for given_label in (names, list(names), pd.Series(names, index=range(5, 405))):
        domain = own(pd.DataFrame(x.numpy()), given_label, 10.0 * mode)
        assert domain.class_names == ["cold", "warm"]
        assert domain.mode_names == ["0", "10", "20", "30"]
    batch, plain = domain.data(50), own(x, label, mode).data(50)
    assert torch.equal(batch.label, plain.label) and torch.equal(batch.mode, plain.mode)


@pytest.mark.parametrize("layout", ["grey", "first", "last", "uint8", "odd"])
def test_pictures_come_back_as_they_were(layout):
    x, label, mode = digits()
    x = (x * 15).astype(np.uint8) if layout == "uint8" else x
    x = x[:, :7, :6] if layout == "odd" else x
    if layout in ("first", "last"):
        x = np.stack([x, x / 2, x / 4], 1 if layout == "first" else 3)
    domain = own(x, label, mode)
    colours = 3 if layout in ("first", "last") else 1
    assert domain.shape[0] == colours
    rows = domain.rows[False].x
    back = domain.decode(rows)
    kept = {row.tobytes() for row in np.round(x.astype(np.float64), 3).reshape(len(x), -1)}
    if layout == "last":
        back = np.moveaxis(back, 1, 3)
    found = np.round(back, 3).reshape(len(back), -1) + 0.0
    assert sum(row.tobytes() in kept for row in found) > 0.95 * len(found)
    model = domain.model()
    out = model(rows[:3], torch.tensor(1.0), torch.tensor([0, 1, 2]))
    assert out.shape == rows[:3].shape
    shown = domain.show(rows[:9], label=0)
    assert sum(len(ax.images) for ax in shown.axes) == 9
    assert domain.mode_names[domain.assign(rows[:1])[0]] == shown.axes[0].get_title()


def test_points_and_tokens_come_back_too():
    x, label, mode = points(scale=1000)
    domain = own(x, label, mode)
    rows = domain.rows[False].x
    assert rows.std() == pytest.approx(0.5, abs=0.02) and rows.dtype == torch.float32
    back = torch.from_numpy(domain.decode(rows))
    assert torch.cdist(back, x.double()).amin(1).max() < 0.01
    x, label, mode = tokens()
    domain = own(x, label, mode)
    back = domain.decode(domain.rows[False].x)
    assert {tuple(row) for row in back.tolist()} <= {tuple(row) for row in x.tolist()}


def test_the_exact_model_has_the_law_of_the_rows():
    for data in (points(), tokens()):
        domain = own(*data)
        for c in (0, 1):
            x = domain.sample(domain.exact(), c, n=400, progress=False)
            found = domain.measure(x, c)
            share = found.mode_counts / found.mode_counts.sum()
            assert (share - domain.mode_weights[c]).abs().max() < 0.08
            assert found.validity == pytest.approx(1, abs=0.02)


def test_a_million_rows_are_read_by_some_of_them():
    x, label, mode = points(50_000)
    domain = own(x, label, mode, train_steps=1)
    assert len(domain.exact().means) == 2000 and len(domain._known) == 5000
    law = domain.exact().all_weights[:2].double()
    kept = domain.assign(domain.exact().means.float())
    for c in (0, 1):
        valid = kept >= 0
        share = torch.zeros(4).double().index_add(0, kept[valid], law[c][valid])
        torch.testing.assert_close(share, domain.mode_weights[c], atol=0.02, rtol=0)


def test_what_is_far_from_all_rows_is_invalid():
    domain = own(*points())
    far = torch.tensor([[9.0, 9.0], [torch.nan, 0]])
    assert domain.assign(far).tolist() == [-1, -1]
    assert (domain.assign(domain.rows[True].x) >= 0).double().mean() > 0.97
    looser, all_of_them = own(*points(), valid_share=0.5), own(*points(), valid_share=1.0)
    assert looser.limit < domain.limit <= all_of_them.limit


def test_found_modes_are_the_heaps_and_are_not_called_true():
    x, label, mode = points()
    domain = own(x, label, num_modes=4)
    assert domain.mode_names == [f"cluster {k}" for k in range(4)]
    pairs = set(zip(domain.assign(domain.rows[False].x).tolist(),
                    domain.rows[False].mode.tolist(), strict=True))  # fmt: skip
    assert len(pairs) == 4
    torch.testing.assert_close(
        domain.mode_weights.sort(1).values, own(x, label, mode).mode_weights.sort(1).values
    )


def test_clusters_become_fewer_where_one_would_be_small(capsys):
    x, label, _ = points(200)
    x[:3] = 90  # three rows far away are no kind of sample
    domain = ct.from_arrays(x, label, num_modes=6)
    assert domain.num_modes < 6
    assert torch.bincount(domain.rows[False].mode).min() >= 0.02 * 160 - 1
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "k-means, other starts agree" in said
    assert "200 points" in said and "held out" in said and "sigma_data" in said


def test_training_never_meets_old_weights(tmp_path):
    x, label, mode = points()
    how = {"train_steps": 2, "folder": tmp_path, "progress": False}

    def weights(*data, **more):
        model = own(*data, **more).train(**how)
        return {name: p.clone() for name, p in model.named_parameters()}

    weights(x, label, mode)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    weights(x, label, mode)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    weights(x**3, label, mode)  # a multiple of all would be standardised away
    weights(x, label, mode, network=lambda: ct.networks.MLP(2, 2, depth=4))
    weights(x, 1 - label, mode)
    assert len(list(tmp_path.glob("*.safetensors"))) == 4


def test_a_network_of_ones_own():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x, sigma, label):
            return self.layer(x)

    net = Net()
    domain = own(*points(), network=net, train_steps=2)
    assert isinstance(domain.model().net, Net) and domain.model().net is not net
    fresh = own(*points(), network=Net)
    assert not torch.equal(fresh.first_model(0).net.layer.weight,
                           fresh.first_model(1).net.layer.weight)  # fmt: skip


def test_a_sweep_a_slider_and_figures(tmp_path):
    domain = own(*points(), name="heaps")
    how = {"scales": [0, 1, 4], "n": 160, "seeds": [0], "progress": False}
    table = ct.sweep([domain], source="exact", references=True, **how)
    assert set(table.domain) == {"heaps"}
    effective = table[(table.source == "exact") & (table.measure == "effective_modes")].value
    assert effective.is_monotonic_decreasing
    aligned = table[(table.source == "exact") & (table.measure == "alignment")].value.tolist()
    assert aligned[0] == pytest.approx(0.5, abs=0.1) and aligned[2] > aligned[1]
    assert ct.plot_coverage(table).axes[0].get_title() == "heaps"
    explorer = ct.explore(domain, domain.exact(), scales=[0, 3], progress=False)
    assert len(explorer.frames) == 2 and explorer.twin()[1:4] == b"PNG"
    assert domain.show(domain.data(20).x, label=1).axes


def bad(x=None, label=None, mode=None, **how):
    good = points(40)
    x, label = (good[0] if x is None else x), (good[1] if label is None else label)
    return lambda: own(x, label, mode, **how)


NAN = points(40)[0].clone()
NAN[[3, 7]] = torch.nan
LARGE = np.stack([np.full((4000, 4000), k, dtype=np.uint8) for k in (0, 1)])
BAD = {
    "ragged": (bad([[1, 2], [3]] * 20), "'x'", "different lengths"),
    "empty": (bad(torch.zeros(0, 2), []), "'x'", "not empty", "(0, 2)"),
    "one row": (bad(torch.zeros(2)), "'x'", "(2,)"),
    "nan": (bad(NAN), "'x'", "finite", "2 rows", "[3, 7]"),
    "constant": (bad(torch.ones(40, 2)), "'x'", "differ", "40 copies"),
    "objects": (bad(np.array([{}, []] * 20, dtype=object)), "'x'", "objects", "dict"),
    "text": (bad(np.array([["a", "b"], ["a", "c"]] * 20), kind="points"), "'x'", "numbers", "<U1"),
    "one class": (bad(label=[0] * 40), "'label'", "two classes"),
    "one a class": (bad(label=[0] * 39 + [1]), "'label'", "at least 5", "'1': 1"),
    "too few labels": (bad(label=[0, 1] * 19), "'label'", "40 ints", "(38,)"),
    "labels of halves": (bad(label=[0.5, 1.5] * 20), "'label'", "float64"),
    "small mode": (bad(mode=["a"] * 37 + ["b"] * 3), "'mode'", "at least 5", "'b': 3"),
    "large": (bad(LARGE, [0, 1]), "'x'", "64 x 64", "4000"),
    "two colours": (bad(np.random.rand(40, 2, 8, 8)), "'x'", "3 colours", "(40, 2, 8, 8)"),
    "kind": (bad(kind="sound"), "'kind'", "points"),
    "kind of another shape": (bad(kind="pictures"), "'x'", "pictures"),
    "many words": (bad(np.arange(40 * 40).reshape(40, 40)), "'x'", "kind='points'", "1600 kinds"),
    "share": (bad(valid_share=99), "'valid_share'", "99"),
    "network": (bad(network="MLP"), "'network'", "'MLP'"),
    "modes": (bad(num_modes=0), "'num_modes'", "0"),
    "weights": (bad(mode_weights=[[1.0]]), "'mode_weights'", "(1, 1)"),
    "copies": (bad([[0, 0], [1.0, 1]] * 20, num_modes=2), "'x'", "copies"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_it_cannot_be_is_named(name):
    call, *parts = BAD[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message(call, *parts)


def test_a_constant_feature_is_said():
    x, label, mode = points(40)
    with pytest.warns(UserWarning, match="1 of 3 features of x are constant"):
        domain = own(torch.cat([x, torch.ones(40, 1)], 1), label, mode)
    assert torch.isfinite(domain.rows[False].x).all()


def test_a_name_of_a_class_is_no_label():
    domain = own(*points())
    message(lambda: domain.sample(domain.exact(), "0", n=3), "'label'", "0 to 2")


def test_the_number_of_clusters_is_told_by_their_least_size():
    x = torch.cat([torch.randn(100, 2), 30 + torch.randn(100, 2), torch.full((4, 2), 90.0)])
    mode, centres, _ = given.found_modes(x, 3)
    assert len(centres) == 2 and torch.bincount(mode).min() >= 96
