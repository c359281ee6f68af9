"""Which devices a run is on.

A worker is a process; it has one or more replicas, each on a device. The chief
is the worker that writes the run's folder.
"""

import contextlib
import json
import os
import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Literal

import gin
import tensorflow as tf
from absl import logging

StrategyName = Literal["none", "mirrored", "multi_worker", "tpu"]


# Replicas of a processor only try things out.
_MOST_ON_PROCESSOR = 16


# A worker not heard of for so long is lost.
_LOST_AFTER_MS = 10_000


# So long may the first worker wait for the last, in seconds,
_MEET_WITHIN = 600.0


# and TensorFlow for workers that have met.
_JOIN_WITHIN_MS = 120_000
_GO = b"go"
_POLL_SECONDS = 1.0
_LOG_SECONDS = 60.0
_RETRY_SECONDS = 0.2


def make_strategy(
    name: str,
    num_replicas: int | None = None,
    joining: Callable = contextlib.nullcontext,
) -> tf.distribute.Strategy:
    """Makes the strategy a run trains under, before anything else is made.

    Args:
        name: "none" for one device; "mirrored" for the
            devices of this machine; "multi_worker" for those of the workers
            that TF_CONFIG or SLURM name; "tpu" for the TPU of this machine.
        num_replicas: With "mirrored" how many devices: GPUs, or where there
            are none logical CPUs, to try it. None for all GPUs.
        joining: Makes the context in which TensorFlow joins the workers.

    Raises:
        ValueError: If there are not as many, or the workers are not named.
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
        resolver = _find_workers()
        _wait_for_workers(resolver)
        _watch_workers(resolver.cluster_spec())
        return _join_workers(resolver, joining)
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def make_local_strategy() -> tf.distribute.Strategy:
    """Makes the strategy for one process to sample and score a run under.

    The config of the run is parsed already. If it trained under "mirrored",
    on as many devices, or the GPUs there are; else on all GPUs of the machine
    if there are several.
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
        most = max(_MOST_ON_PROCESSOR, os.cpu_count())
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
    """Returns what TF_CONFIG has to say in a task of a SLURM step.

    TensorFlow's resolver lists hosts in the order of their names as text, not
    in that of the tasks (node10 before node9), so a task's place is looked up.
    Its count of GPUs, which it cannot do without, is not used.
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


def _wait_for_workers(resolver):
    jobs = resolver.cluster_spec().as_dict()
    addresses = [*jobs.get("chief", ()), *jobs.get("worker", ())]
    if len(addresses) > 1:
        logging.info("Waiting for all of %d workers.", len(addresses))
        meet(addresses, _index(resolver), _MEET_WITHIN)


def _join_workers(resolver, joining):
    try:
        with joining():
            return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.OpError as error:
        raise RuntimeError(
            "TensorFlow could not join the workers: see the logs of the "
            "others, whether this machine reaches their addresses, and whether "
            f"the port of its own is free. ({str(error).splitlines()[0]:.200})"
        ) from error


def _watch_workers(cluster):
    """Has TensorFlow notice within seconds that a worker is gone.

    As the strategy would set it up, this would take up to a minute, as would
    the exit of a worker that waits for one that is gone.
    """
    # TensorFlow has no public way to set these times.
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
    from tensorflow.python.eager import context

    jobs = [job for job in ("chief", "worker") if job in cluster.jobs]
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{jobs[0]}/replica:0/task:0",
        cluster_register_timeout_in_ms=_JOIN_WITHIN_MS,
        heartbeat_timeout_in_ms=_LOST_AFTER_MS,
        shutdown_barrier_timeout_in_ms=_LOST_AFTER_MS,
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(
                name=job, num_tasks=cluster.num_tasks(job)
            )
            for job in jobs
        ],
    )


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns how many workers there are."""
    return sum(map(len, _cluster(strategy).values())) or 1


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of this worker; the chief is 0."""
    if num_workers(strategy) == 1:
        return 0
    return _index(strategy.cluster_resolver)


def _index(resolver):
    # A cluster may name its first worker apart.
    others = len(resolver.cluster_spec().as_dict().get("chief", ()))
    return resolver.task_id + others * (resolver.task_type == "worker")


def _cluster(strategy):
    """Returns the workers' addresses by job; none unless there are several."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return {}
    return strategy.cluster_resolver.cluster_spec().as_dict()


def meet(addresses: Sequence[str], index: int, seconds: float) -> None:
    """Waits until all workers are there.

    Worker 0 listens at its own address, which is TensorFlow's from then on. The
    others tell it their numbers; it answers when it has heard of all. One that
    ends while it waits, and comes again, is waited for.

    Args:
        addresses: `HOST:PORT` of each, worker 0 first.
        index: Which of them this process is.
        seconds: How long to wait.

    Raises:
        RuntimeError: If not all have come by then, naming who has not, or
            worker 0 cannot listen.
    """
    deadline = time.monotonic() + seconds
    if index == 0:
        missing = _gather(addresses, deadline)
    else:
        missing = _report(addresses[0], index, deadline)
    if missing:
        raise RuntimeError(
            f"{', '.join(missing)} did not come within {seconds:.0f} s: see "
            "the logs there, and whether the machines reach each other."
        )


def _gather(addresses, deadline):
    """Waits for the others as worker 0; returns who has not come."""
    numbers = {}
    log_at = time.monotonic() + _LOG_SECONDS
    with _listen(addresses[0]) as server, contextlib.ExitStack() as stack:
        while missing := _missing(addresses, numbers):
            if time.monotonic() > deadline:
                return missing
            if time.monotonic() > log_at:
                logging.info("Still waiting for %s.", ", ".join(missing))
                log_at += _LOG_SECONDS
            ready, _, _ = select.select(
                [server, *numbers], [], [], _POLL_SECONDS
            )
            for connection in ready:
                if connection is server:
                    connection = stack.enter_context(server.accept()[0])
                    numbers[connection] = None
                else:
                    _hear(connection, numbers)
        _answer(numbers)
    return []


def _missing(addresses, numbers):
    return [
        address
        for number, address in enumerate(addresses)
        if number and number not in numbers.values()
    ]


def _hear(connection, numbers):
    """Notes the number that a worker sends, or that it has gone."""
    try:
        numbers[connection] = int(connection.recv(16))
    except (OSError, ValueError):
        del numbers[connection]
        connection.close()


def _answer(connections):
    """Tells all to go on, and waits until they have hung up.

    Whoever hangs up first keeps the port occupied for a while.
    """
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(_GO)
    for connection in connections:
        connection.settimeout(_POLL_SECONDS)
        with contextlib.suppress(OSError):
            connection.recv(1)


def _report(chief, index, deadline):
    """Waits for worker 0 and its word; returns it if that has not come."""
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(
                _host_and_port(chief), timeout=_POLL_SECONDS
            ) as connection,
        ):
            connection.sendall(b"%d" % index)
            word = None
            while word is None and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    word = connection.recv(16)
            if word == _GO:
                return []
        # Not there yet, or it has ended and may come again.
        time.sleep(_RETRY_SECONDS)
    return [chief]


def _listen(address):
    port = _host_and_port(address)[1]
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(
            ("", port), family=family, dualstack_ipv6=both
        )
    except OSError as error:
        raise RuntimeError(
            f"Worker 0 cannot listen at {address}: {error.strerror}. Another "
            "process may have the port: end that, or give another port."
        ) from error


def _host_and_port(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
