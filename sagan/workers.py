"""What the workers of a run tell each other."""

import tensorflow as tf

from sagan.strategies import num_workers, worker_index


class Workers:
    """What the workers of a run tell each other.

    With one worker nothing is sent, and the answers are its own. All workers
    must ask the same things in the same order.

    Attributes:
        strategy: That they train under.
        number: How many they are.
        alone: Whether there is but one.
        is_chief: Whether this is the one that writes the run's folder.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self.strategy = strategy
        self.number = num_workers(strategy)
        self.alone = self.number == 1
        self.is_chief = worker_index(strategy) == 0
        self._sum = tf.function(self._sum_over_replicas)

    def describe(self) -> dict[str, str | int]:
        """Returns what a run's record says of them."""
        return {
            "strategy": type(self.strategy).__name__,
            "workers": self.number,
            "replicas": self.strategy.num_replicas_in_sync,
        }

    def any_says(self, condition: bool) -> bool:
        """Returns whether any worker says so."""
        if self.alone:
            return condition
        (total,) = self._sum([tf.constant(float(condition))])
        return bool(total > 0)

    def copy_from_chief(self, variables: list) -> None:
        """Gives variables on all workers the chief's values."""
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
        """Sums what the replicas have, or takes what the first has."""

        def reduce():
            context = tf.distribute.get_replica_context()
            counts = not of_first or context.replica_id_in_sync_group == 0
            # Made here, as what comes from outside is on no replica's device.
            own = [tf.where(counts, v, tf.zeros_like(v)) for v in values]
            return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

        return [
            self.strategy.experimental_local_results(result)[0]
            for result in self.strategy.run(reduce)
        ]
