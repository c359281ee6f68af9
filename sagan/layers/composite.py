"""Layers made of layers alone."""


class Composite:
    """Mixin of layers and models that have no variables of their own.

    Their parts are built when they are first called. Keras would trace `call`
    for it first, which takes longer than all the rest.
    """

    def build(self, *_):
        """Leaves building to the parts."""
