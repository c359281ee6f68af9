"""Which devices a run is on: what is refused, and who takes which rows."""

import json

import pytest
import tensorflow as tf
from tiny_gan import make_generator

from sagan.data import make_dataset
from sagan.distributed.replicas import check_replicas, distribute_steps
from sagan.distributed.strategy import make_strategy, num_workers, worker_index
from sagan.distributed.workers import Workers
from sagan.training import assembly

TASK = {"type": "worker", "index": 0}


@pytest.mark.parametrize(
    ("name", "num_replicas", "message"),
    [
        ("none", 2, "num_replicas is 2, but is for .*'mirrored' alone"),
        ("multi_worker", None, "neither TF_CONFIG nor SLURM.*sagan.launch"),
    ],
)
def test_what_cannot_be(name, num_replicas, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    with pytest.raises(ValueError, match=message):
        make_strategy(name, num_replicas)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "not JSON",
        json.dumps({"cluster": {"worker": ["a:1"]}}),
        json.dumps({"cluster": {"worker": []}, "task": TASK}),
        json.dumps({"cluster": {"ps": ["a:1"]}, "task": TASK}),
        json.dumps(
            {"cluster": {"ps": ["a:1"]}, "task": {**TASK, "type": "ps"}}
        ),
    ],
)
def test_a_task_that_is_not_in_its_cluster(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG is .*expected JSON"):
        make_strategy("multi_worker")


@pytest.mark.parametrize("addresses", [["a"], ["a:"], ["a:1", "a:1"], [":1"]])
def test_workers_that_cannot_be_reached(addresses, monkeypatch):
    cluster = {"cluster": {"worker": addresses}, "task": TASK}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(ValueError, match="has the workers a?:?.*HOST:PORT"):
        make_strategy("multi_worker")


def test_a_processor_makes_few_replicas():
    with pytest.raises(ValueError, match="is 1000.*no GPU.*at most"):
        make_strategy("mirrored", 1000)


def test_one_device_is_one_worker_that_writes():
    strategy = make_strategy("none")
    assert (num_workers(strategy), worker_index(strategy)) == (1, 0)
    workers = Workers(strategy)
    assert workers.alone
    assert workers.is_chief
    assert [workers.any_worker(answer) for answer in (True, False)] == [
        True,
        False,
    ]
    variable = tf.Variable(2.0)
    workers.copy_from_chief([variable])
    assert variable.numpy() == 2.0


def test_a_batch_that_the_replicas_cannot_share():
    strategy = make_strategy("none")
    check_replicas(strategy, batch_size=8, accumulation=4)
    with pytest.raises(ValueError, match=r"batch_size is 8.*multiple of 3"):
        check_replicas(strategy, batch_size=8, accumulation=3)


class TwoWorkers:
    """Stands in for a strategy of two workers with two replicas each."""

    num_replicas_in_sync = 4

    def __init__(self, worker):
        self.worker = worker

    def distribute_datasets_from_function(self, pipeline):
        return pipeline(tf.distribute.InputContext(2, self.worker, 4))


def test_replicas_take_consecutive_rows_of_the_batch():
    """The order in which `replica_slice` counts them."""
    dataset = make_dataset("synthetic", 32, batch_size=8, num_examples=32)
    whole, _ = next(iter(dataset.steps(2, first=3)))
    for worker in (0, 1):
        steps = distribute_steps(TwoWorkers(worker), dataset, 2, first=3)
        for replica in (0, 1):
            images, labels = next(steps)
            start = 4 * worker + 2 * replica
            tf.debugging.assert_equal(images, whole[:, start : start + 2])
            assert labels.shape == (2, 2)


@pytest.mark.parametrize(
    "settings", [{"jit_compile": True}, {"accumulation": 2}]
)
def test_synchronized_batch_norm_meets_within_an_update(settings, monkeypatch):
    monkeypatch.setattr(
        tf.distribute, "get_strategy", lambda: TwoWorkers(worker=0)
    )
    monkeypatch.setattr(
        assembly,
        "build_generator",
        lambda: make_generator(batch_norm="synchronized"),
    )
    settings = {"jit_compile": None, "accumulation": 1} | settings
    with pytest.raises(ValueError, match="4 replicas meet within an update"):
        assembly.make_gan(
            seed=0, ema_decay=0.9, ema_start=0, joint_batch=True, **settings
        )
