"""Agreement among the workers of a run: stops, config, restored state."""

import contextlib
import hashlib
import re
import time

import tensorflow as tf

from sagan.distributed.strategy import num_workers, worker_index

_LINGER_SECONDS = 1.0


class Workers:
    """Collective operations of the workers of a run.

    All workers must call them in the same order. A single worker sends nothing
    and gets its own values.

    Attributes:
        strategy: Strategy they train under.
        number: Number of workers.
        alone: Whether there is only one.
        is_chief: Whether this worker writes the run's folder.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self.strategy = strategy
        self.number = num_workers(strategy)
        self.alone = self.number == 1
        self.is_chief = worker_index(strategy) == 0
        self._sum = tf.function(self._sum_over_replicas, autograph=False)

    @contextlib.contextmanager
    def watched(self):
        """Ends all workers together, and explains the loss of one.

        At the end all wait for the chief, which has more to write.

        Raises:
            RuntimeError: If another worker has ended or cannot be reached.
        """
        try:
            yield
            self.any_worker(False)
        except tf.errors.OpError as error:
            if self.alone or not _is_loss(error):
                raise
            raise RuntimeError(
                f"Worker {worker_index(self.strategy)} of {self.number} ends: "
                "another worker has ended or cannot be reached; its own log "
                "may say why. Run the same command on all of them to resume "
                f"from the newest checkpoint.{_reason(error)}"
            ) from error
        # All succeeded. The first to return may exit before the rest hear it.
        with contextlib.suppress(tf.errors.OpError):
            self.any_worker(False)
        if not self.alone:
            # Else a worker that still expects a reply waits for a heartbeat.
            time.sleep(_LINGER_SECONDS)

    def describe(self) -> dict[str, int]:
        """Returns the entries for the run's record."""
        return {
            "workers": self.number,
            "replicas": self.strategy.num_replicas_in_sync,
        }

    def on_what(self) -> str:
        """Returns a phrase for the log; empty for one replica."""
        replicas = self.strategy.num_replicas_in_sync
        if replicas == 1:
            return ""
        workers = "" if self.alone else f" of {self.number} workers"
        return f" on {replicas} replicas{workers}"

    def any_worker(self, condition: bool) -> bool:
        """Returns whether `condition` is true on any worker."""
        if self.alone:
            return condition
        (total,) = self._sum([tf.constant(float(condition))])
        return bool(total > 0)

    def check_same(self, text: str) -> None:
        """Checks that all workers have the same config and data.

        Raises:
            ValueError: If this worker's text differs from the chief's.
        """
        if self.alone:
            return
        digest = hashlib.sha256(text.encode()).digest()
        own = int.from_bytes(digest[:4])
        (chief,) = self._sum([tf.constant(own, tf.int64)], of_first=True)
        if int(chief) != own:
            raise ValueError(
                f"Worker {worker_index(self.strategy)} was started with "
                "another config than worker 0, or sees another number of "
                "images: give all workers the same command and data."
            )

    def copy_from_chief(self, variables: list) -> None:
        """Assigns the chief's values to variables on all workers."""
        if self.alone:
            return
        # TensorFlow sends tensors of one dtype together.
        for dtype in sorted({v.dtype for v in variables}, key=str):
            some = [v for v in variables if v.dtype == dtype]
            values = [tf.constant(variable.numpy()) for variable in some]
            totals = self._sum(values, of_first=True)
            for variable, total in zip(some, totals, strict=True):
                variable.assign(total)

    def _sum_over_replicas(self, values, of_first=False):
        """Sums values over the replicas, or broadcasts the first's."""

        def reduce():
            context = tf.distribute.get_replica_context()
            counts = not of_first or context.replica_id_in_sync_group == 0
            # Created here: tensors from outside are on no replica's device.
            own = [tf.where(counts, v, tf.zeros_like(v)) for v in values]
            return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

        return [
            self.strategy.experimental_local_results(result)[0]
            for result in self.strategy.run(reduce)
        ]


def _reason(error):
    found = re.search(r"aborted by: (.+)", str(error))
    return f" ({found[1]:.150})" if found else ""


def _is_loss(error):
    """Whether a collective operation failed because a peer is gone."""
    gone = tf.errors.UnavailableError, tf.errors.AbortedError
    return isinstance(error, gone) or "ollective" in str(error)
