"""Sweeps elsewhere and sweeps cut short: a cluster's table and a killed run's are the usual one."""

import random
import subprocess
import sys
import time

import pandas as pd
import pytest

import cfg_tutorial as ct

OPTIONS = {"scales": [0.0, 1.0, 3.0], "source": "exact", "n": 200, "num_steps": 60}
SWEEP = f"""
import sys, torch
torch.set_num_threads(1)
import cfg_tutorial as ct
print("sweeping", flush=True)
ct.sweep(["mixtures"], seeds=range(24), folder=sys.argv[1], progress=False, **{OPTIONS})
"""


@pytest.fixture(scope="module")
def table():
    return ct.sweep(["mixtures"], seeds=range(24), progress=False, **OPTIONS)


def test_a_cluster_gives_the_same_table(table, tmp_path):
    distributed = pytest.importorskip("distributed", reason="pip install cfg-tutorial[cluster]")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=str(tmp_path),
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        workers = set(client.run(lambda: __import__("os").getpid()).values())
        found = ct.sweep(
            ["mixtures"], seeds=range(24), executor=executor, progress=False, **OPTIONS
        )
    assert len(workers) == 2
    pd.testing.assert_frame_equal(found, table, check_exact=False, atol=1e-6, rtol=0)


def lines(path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_killed_ten_times_it_ends_in_the_same_table(table, tmp_path):
    luck, kills = random.Random(0), 0
    journal = tmp_path / "results.jsonl"
    for _ in range(10):
        run = subprocess.Popen(
            [sys.executable, "-c", SWEEP, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert run.stdout and run.stdout.readline() == "sweeping\n"
        done = lines(journal)
        while run.poll() is None and lines(journal) == done:
            time.sleep(0.001)
        time.sleep(luck.uniform(0, 0.05))
        run.kill()
        kills += run.wait() == -9
        run.stdout.close()
    assert kills >= 5, "runs that ended by themselves show nothing"
    with open(journal, "a", encoding="utf-8") as file:
        file.write('{"key": "torn')
    found = ct.sweep(["mixtures"], seeds=range(24), folder=tmp_path, progress=False, **OPTIONS)
    pd.testing.assert_frame_equal(found, table)
    assert not list(tmp_path.rglob("*.partial"))
