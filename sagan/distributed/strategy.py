"""Devices of a run.

A worker is a process with one or more replicas, each on a device. The chief is
the worker that writes the run's folder.
"""

import contextlib
import json
import os
import re
import signal
from collections.abc import Callable
from typing import Literal

import gin
import tensorflow as tf
from absl import logging

StrategyName = Literal["none", "mirrored", "multi_worker", "tpu"]


# CPU replicas are only for trying things out.
_MAX_CPU_REPLICAS = 16
# Seconds without a heartbeat after which a worker is lost.
_LOST_AFTER = 10
# Seconds that the first worker waits for the last.
JOIN_WITHIN = 600


def make_strategy(
    name: str,
    num_replicas: int | None = None,
    joining: Callable = contextlib.nullcontext,
) -> tf.distribute.Strategy:
    """Creates the strategy of a run, before any variable is created.

    Args:
        name: "none" for one device; "mirrored" for the devices of this
            machine; "multi_worker" for those of the workers that TF_CONFIG or
            SLURM name; "tpu" for the TPU of this machine.
        num_replicas: Number of devices with "mirrored": GPUs or, without any,
            logical CPUs to try it on. None for all GPUs.
        joining: Creates the context in which TensorFlow joins the workers.

    Raises:
        ValueError: If there are fewer devices, or the workers are not named.
        RuntimeError: If not all workers have joined in time.
    """
    if num_replicas is not None and name != "mirrored":
        raise ValueError(
            f"train.num_replicas is {num_replicas}, but is for "
            "train.strategy = 'mirrored' alone: leave it at None."
        )
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(_local_devices(num_replicas))
    if name == "multi_worker":
        return _join_workers(_find_workers(), joining)
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def make_local_strategy() -> tf.distribute.Strategy:
    """Creates the strategy for sampling and scoring a run in one process.

    The config of the run must have been parsed. A run trained under "mirrored"
    uses as many devices, or the GPUs there are; any other all GPUs of the
    machine if there are several.
    """
    bound = gin.get_bindings("train")
    gpus = len(tf.config.list_physical_devices("GPU"))
    if bound.get("strategy") != "mirrored":
        return make_strategy("mirrored" if gpus > 1 else "none")
    count = bound.get("num_replicas")
    return make_strategy(
        "mirrored", min(count, gpus) if count and gpus else count
    )


def _local_devices(num_replicas):
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        cpu = tf.config.list_physical_devices("CPU")[0]
        logical = tf.config.LogicalDeviceConfiguration()
        count = num_replicas or 1
        most = max(_MAX_CPU_REPLICAS, os.cpu_count())
        if count > most:
            raise ValueError(
                f"train.num_replicas is {count}, but this machine has no GPU: "
                f"expected at most {most} replicas of its processor."
            )
        tf.config.set_logical_device_configuration(cpu, [logical] * count)
        return [f"CPU:{i}" for i in range(count)]
    if num_replicas and num_replicas > len(gpus):
        raise ValueError(
            f"train.num_replicas is {num_replicas}, but this machine has "
            f"{len(gpus)} GPUs: lower it, or leave it at None."
        )
    return [f"GPU:{i}" for i in range(num_replicas or len(gpus))]


def _find_workers():
    if "TF_CONFIG" not in os.environ and "SLURM_STEP_NUM_TASKS" in os.environ:
        os.environ["TF_CONFIG"] = json.dumps(_slurm_workers(os.environ))
    if "TF_CONFIG" in os.environ:
        _check_tf_config(os.environ["TF_CONFIG"])
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    raise ValueError(
        "train.strategy is 'multi_worker', but neither TF_CONFIG nor SLURM "
        "names the workers. To try it on this machine: python -m sagan.launch "
        "--workers=2 -- and the arguments of sagan.train; for others see "
        "docs/distributed.md."
    )


def _slurm_workers(variables):
    """Returns the content of TF_CONFIG for a task of a SLURM step.

    TensorFlow's resolver lists hosts in alphabetical order (node10 before
    node9), not that of the tasks, so a task's index is looked up. It requires
    a number of GPUs, which is not used.
    """
    # Tasks of two jobs on a machine must not meet at a port.
    port = 10000 + 64 * (int(variables["SLURM_JOB_ID"]) % 300)
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=port,
        gpus_per_node=int(variables["SLURM_STEP_NUM_TASKS"]),
        gpus_per_task=1,
        auto_set_gpu=False,
    )
    workers = resolver.cluster_spec().as_dict()["worker"]
    own = int(variables["SLURM_LOCALID"]) + port
    index = workers.index(f"{variables['SLURMD_NODENAME']}:{own}")
    return {
        "cluster": {"worker": workers},
        "task": {"type": "worker", "index": index},
    }


def _check_tf_config(text):
    try:
        config = json.loads(text)
        task = config["task"]
        if task["type"] not in ("chief", "worker"):
            raise KeyError(task["type"])
        config["cluster"][task["type"]][int(task["index"])]
        addresses = [a for job in config["cluster"].values() for a in job]
        wrong = [a for a in addresses if not re.search(r"[^:]:\d+$", a)]
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(
            f"TF_CONFIG is {text!r}: expected JSON such as "
            '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": '
            '{"type": "worker", "index": 0}}, whose task is in its cluster.'
        ) from error
    if wrong or len(set(addresses)) < len(addresses):
        raise ValueError(
            f"TF_CONFIG has the workers {', '.join(addresses)}: expected "
            "HOST:PORT of each, and no two the same."
        )


def _join_workers(resolver, joining):
    """Waits until all workers have registered with the first."""
    cluster = resolver.cluster_spec().as_dict()
    # A cluster may name other jobs, which do not train.
    jobs = {job: cluster[job] for job in ("chief", "worker") if job in cluster}
    addresses = [address for job in jobs.values() for address in job]
    if len(addresses) > 1:
        listed = ", ".join(addresses)
        logging.info("Waiting for %d workers: %s", len(addresses), listed)
    _configure_cluster(resolver.cluster_spec())
    try:
        with joining(), _ended_by_interrupt():
            return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.OpError as error:
        raise RuntimeError(_failed_to_join(str(error), jobs)) from error


def _failed_to_join(text, jobs):
    """Returns one line for TensorFlow's error."""
    if "gRPC server" in text:
        return (
            "TensorFlow cannot listen at this worker's own address: another "
            "process may have the port. End that, or choose another port."
        )
    if "Deadline" in text or "Barrier timed out" in text:
        # Only worker 0 learns who is missing, and others only wait for it.
        tasks = re.findall(r"^/job:(\w+)/.*task:(\d+)$", text, re.MULTILINE)
        missing = [jobs[job][int(task)] for job, task in tasks]
        missing = missing or jobs[min(jobs)][:1]  # The chief.
        return (
            f"{', '.join(missing)} did not come within {JOIN_WITHIN} s: see "
            "the logs there, and whether the machines reach each other."
        )
    return f"TensorFlow could not join the workers: {text.splitlines()[0]:.200}"


@contextlib.contextmanager
def _ended_by_interrupt():
    """Lets Ctrl-C end the process while TensorFlow waits for workers.

    It waits in C++ and holds Python's lock, so no handler of Python's runs.
    """
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _configure_cluster(cluster):
    """Sets how long TensorFlow waits for workers, to join and to reply.

    By its defaults worker 0 waits forever, and a lost worker is noticed after
    up to a minute, as is the exit of one that waits for it.
    """
    # TensorFlow has no public way to set these times.
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
    from tensorflow.python.eager import context

    jobs = [job for job in ("chief", "worker") if job in cluster.jobs]
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{jobs[0]}/replica:0/task:0",
        cluster_register_timeout_in_ms=1000 * JOIN_WITHIN,
        heartbeat_timeout_in_ms=1000 * _LOST_AFTER,
        shutdown_barrier_timeout_in_ms=1000 * _LOST_AFTER,
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(
                name=job, num_tasks=cluster.num_tasks(job)
            )
            for job in jobs
        ],
    )
    service = context.context().coordination_service
    service.cluster_register_with_barrier = True


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of workers."""
    return sum(map(len, _cluster(strategy).values())) or 1


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Returns the index of this worker; the chief is 0."""
    if num_workers(strategy) == 1:
        return 0
    return _index(strategy.cluster_resolver)


def _index(resolver):
    # A cluster may list its first worker separately, as the chief.
    others = len(resolver.cluster_spec().as_dict().get("chief", ()))
    return resolver.task_id + others * (resolver.task_type == "worker")


def _cluster(strategy):
    """Returns the workers' addresses by job; empty for one worker."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return {}
    return strategy.cluster_resolver.cluster_spec().as_dict()
