"""Names by character: a real corpus whose law is that of its lists."""

import hashlib

import pytest
import torch
from toys import ROOT, loaded

import cfg_tutorial as ct

TABLE = ROOT / "data" / "names.csv"


@pytest.fixture(scope="module")
def domain():
    return ct.load("text", corpus="names")


def builder():
    return loaded("data/builders/build_names.py")


def test_the_table_is_what_the_builder_makes():
    module = builder()
    assert module.build(module.installed()) == TABLE.read_text(encoding="utf-8")


def test_the_licence_names_the_checksum():
    text = (ROOT / "data" / "names.LICENSE.md").read_text(encoding="utf-8")
    assert hashlib.sha256(TABLE.read_bytes()).hexdigest() in text


def test_names_pass_as_a_domain(domain):
    assert "show" in ct.check_domain(domain)


def test_the_law_is_that_of_the_lists(domain):
    rows = [line.split(",") for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]]
    assert domain.class_names == ["female", "male", "surname"]
    for c, kind in enumerate(domain.class_names):
        shares = {name: float(share) for own, name, share in rows if own == kind}
        law = domain.law.log_prob(domain.encode(list(shares)), c).exp()
        expected = torch.tensor(list(shares.values()), dtype=torch.float64)
        torch.testing.assert_close(law, expected / expected.sum())
        initial = "m"
        share = sum(v for name, v in shares.items() if name[0] == initial) / sum(shares.values())
        k = domain.mode_names.index(initial)
        assert domain.mode_weights[c, k].item() == pytest.approx(share)


def test_what_is_no_name_is_invalid(domain):
    x = domain.encode(["mary", "mray", "smith", "james", "zzz", "ma_y"])
    modes = domain.assign(x).tolist()
    letters = [domain.mode_names[k] if k >= 0 else None for k in modes]
    assert letters == ["m", None, "s", "j", None, None]
    assert domain.decode(x) == ["mary", "mray", "smith", "james", "zzz", "ma_y"]


def test_guided_names_are_of_their_list(domain):
    x = domain.sample(ct.guided(domain.exact(), 3.0), label=1, n=400, progress=False)
    found = domain.measure(x, 1)
    assert found.validity == 1
    assert found.accuracy > 0.99


def test_mode_weights_are_the_lists_own():
    with pytest.raises(ValueError, match="'mode_weights' parameter"):
        ct.load("text", corpus="names", mode_weights=[[0.5, 0.5]] * 3)
