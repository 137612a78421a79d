"""The look: a few figures of a photo, measured before any step, from which the gates
decide what is done to it and what is left alone.

Its cost is bounded, whatever the size of the photo: it reads a reduced picture, and
windows of the pixels themselves. It needs no network. Whoever changes a figure raises
the version of the gates, because the same photo may be decided on in another way.
"""

from gpu_worker.look.figures import Look, look
from gpu_worker.look.scratches import scratches

__all__ = ["Look", "look", "scratches"]
