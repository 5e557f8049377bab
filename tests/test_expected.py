"""What a lesson expects of its numbers: quiet when all is well, plain when not."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from toys import message

import cfg_tutorial as ct


def test_what_is_within_is_not_spoken_of(capsys):
    share, shares = 0.3, [0.3, torch.tensor(0.1)]
    by_name = {"text": pd.Series({1.0: 0.3, 8.0: 0.1}), "audio": np.array([0.1, 0.3])}
    matrix = torch.full((2, 2), 0.1)
    ct.expect(share=(0.3, 0.3), shares=(0.1, 0.3), by_name=(0.1, 0.3), matrix=(0.0, 1.0))
    ct.expect(by_name={"text": {8.0: (0.1, 0.1)}, "audio": {1: (0.3, 0.3)}}, shares={0: (0.3, 0.4)})
    assert capsys.readouterr().out == "" and share and shares and by_name and len(matrix)


@pytest.mark.parametrize(
    "value, expected, said",
    [
        (0.31, (0.1, 0.3), ["value is 0.31, not from 0.1 to 0.3."]),
        (torch.tensor(0.05), (0.1, 0.3), ["value is 0.05, not from 0.1 to 0.3."]),
        (math.nan, (0.1, 0.3), ["value is nan, not from 0.1 to 0.3."]),
        ([0.2, 4, 5], (0, 1), ["value[1] is 4, not from 0 to 1.", "value[2] is 5, not"]),
        ({"a": 2.0, "b": 0.5}, {"a": (0, 1), "b": (0, 1)}, ["value['a'] is 2, not from 0 to 1."]),
        (pd.Series({8.0: 2.0}), {8.0: (0, 1)}, ["value[8.0] is 2, not from 0 to 1."]),
    ],
)
def test_what_is_not_within_is_named(value, expected, said, capsys):
    ct.expect(value=expected)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(said)
    for line, part in zip(lines, said, strict=True):
        assert line.startswith("Unexpected: " + part)


def test_a_variable_of_the_notebook_is_found(capsys):
    space = {"ct": ct, "modes": 2.0}  # as a cell's code runs: its variables are global
    exec("ct.expect(modes=(3, 4))", space)
    assert "modes is 2, not from 3 to 4" in capsys.readouterr().out


def test_what_is_no_range_or_no_variable_is_an_error():
    value = 1.0
    message(lambda: ct.expect(nothing=(0, 1)), "'nothing'", "none of that name")
    for expected in (1.0, (0,), (2, 1), [0, 1]):
        with pytest.raises(ValueError, match="'value' parameter of expect must be"):
            ct.expect(value=expected)
    assert value
