"""The networks: shapes, size, and what each row of the answer may depend on."""

import pytest
import torch
from torch import nn

from cfg_tutorial.networks import MLP, Attention, Condition, UNet

NETWORKS = {
    "MLP": (lambda classes: MLP(dim=2, num_classes=classes), (2,)),
    "UNet": (UNet, (1, 16, 16)),
}


@pytest.fixture(params=NETWORKS)
def case(request):
    """A network of three classes in float64, all weights random, and an input of five rows."""
    make, shape = NETWORKS[request.param]
    torch.manual_seed(0)
    net = make(3).double()
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.2)
    x = torch.randn(5, *shape, dtype=torch.float64)
    return net, x, torch.rand(5).double() + 0.1, torch.tensor([0, 1, 2, 3, 0])


def test_answer_has_the_shape_and_type_of_x(case):
    net, x, sigma, label = case
    answer = net(x, sigma, label)
    assert answer.shape == x.shape and answer.dtype == torch.float64
    single = net.float()(x.float(), sigma.float(), label)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), answer, rtol=1e-3, atol=1e-3)


def test_a_row_depends_on_no_other_row(case):
    net, x, sigma, label = case
    whole = net(x, sigma, label)
    order = torch.tensor([3, 0, 4])
    torch.testing.assert_close(net(x[order], sigma[order], label[order]), whole[order])
    changed = x.clone()
    changed[0] += 1
    again = net(changed, sigma, label)
    torch.testing.assert_close(again[1:], whole[1:])
    assert (again[0] - whole[0]).abs().max() > 1e-3


def test_a_row_depends_on_its_level_and_on_its_label(case):
    net, x, sigma, _ = case
    same = x[:1].expand(4, *x.shape[1:])
    by_label = net(same, sigma[:1].expand(4), torch.arange(4))
    by_level = net(same, torch.tensor([0.02, 0.2, 2.0, 20.0]).double(), torch.zeros(4).long())
    for answers in (by_label, by_level):
        gaps = torch.cdist(answers.flatten(1), answers.flatten(1))
        assert gaps[~torch.eye(4, dtype=torch.bool)].min() > 1e-3


def test_null_label_is_the_last_one(case):
    net, x, sigma, label = case
    assert torch.isfinite(net(x, sigma, torch.full_like(label, 3))).all()
    with pytest.raises(IndexError):
        net(x, sigma, torch.full_like(label, 4))


def test_training_mode_changes_nothing(case):
    net, x, sigma, label = case
    assert torch.equal(net.train()(x, sigma, label), net.eval()(x, sigma, label))


def test_every_weight_is_used(case):
    net, x, sigma, label = case
    net(x, sigma, label).square().sum().backward()
    unused = [name for name, weight in net.named_parameters() if not weight.grad.abs().max() > 0]
    assert unused == []


def test_size():
    def size(net):
        return sum(weight.numel() for weight in net.parameters())

    assert 100_000 < size(UNet(2)) <= 1_000_000
    assert size(MLP(2, 2, hidden=64)) < size(MLP(2, 2)) < 200_000
    assert size(MLP(2, 2, depth=4)) - size(MLP(2, 2)) == 2 * 128 * 129  # a layer and its gate


def test_label_rows_have_deviation_one_and_levels_are_told_apart():
    torch.manual_seed(0)
    condition = Condition(num_classes=20, width=192)
    assert abs(condition.label.weight.std() - 1) < 0.05
    levels = torch.logspace(-2, 2, 60)
    rows = condition(levels, torch.zeros(60).long())
    assert (rows[1:] - rows[:-1]).norm(dim=1).min() > 0.1


def test_a_fresh_unet_predicts_zero():
    net = UNet(2)
    nn.init.zeros_(net.leave.bias)
    x = torch.randn(2, 1, 16, 16)
    assert net(x, torch.ones(2), torch.tensor([0, 1])).abs().max() == 0


def test_attention_moves_with_a_permutation_of_places():
    torch.manual_seed(0)
    attention = Attention(16).double()
    nn.init.normal_(attention.out.weight)
    x = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    order = torch.randperm(16)
    moved = attention(x.flatten(2)[:, :, order].view_as(x)).flatten(2)
    torch.testing.assert_close(moved, attention(x).flatten(2)[:, :, order])
    assert (attention(x) - x).abs().max() > 1e-3
