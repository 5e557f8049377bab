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


def short(name, train_steps):
    """Return a domain that trains for few steps."""
    domain = ct.load(name)
    domain.recipe = {**domain.recipe, "train_steps": train_steps, "batch_size": 32}
    return domain


@pytest.mark.parametrize("workers, threads", [(1, 4), (2, 1)])
def test_training_on_a_cluster_gives_the_weights_of_training_in_turn(
    tmp_path, monkeypatch, workers, threads
):
    """Threads of one worker, and workers, train what one process trains, whatever the seed.

    Before: threads of one worker shared a random generator.
    """
    distributed = pytest.importorskip("distributed", reason="pip install cfg-tutorial[cluster]")
    domains = [short("mixtures", 20), short("text", 10), short("images", 5)]

    def swept(folder, **how):
        monkeypatch.setenv("CFG_TUTORIAL_CACHE", str(tmp_path / folder))
        found = ct.sweep(domains, [1.0], seeds=range(3), n=160, num_steps=2, progress=False, **how)
        return found.groupby(["domain", "seed"]).weights.first()

    alone = swept("alone")
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            dashboard_address=None,
            local_directory=str(tmp_path),
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        folder = str(tmp_path / "cluster")
        client.run(lambda: __import__("os").environ.update(CFG_TUTORIAL_CACHE=folder))
        together = swept("cluster", executor=executor)
    assert together.equals(alone) and alone.nunique() == 9
    assert len([*(tmp_path / "cluster").glob("*.safetensors")]) == 9


def lines(path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_killed_ten_times_it_ends_in_the_same_table(table, tmp_path):
    """A sweep that is killed ten times ends in the table of one that is not."""
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
