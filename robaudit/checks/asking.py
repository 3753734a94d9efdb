"""How a check asks about a sampled image what no attack tells."""

from collections.abc import Callable

from robaudit.attack.batching import Dialogue, Work
from robaudit.attack.climb import Target
from robaudit.records import ImageRow

Ask = Callable[[ImageRow, Target, Work], Dialogue[bool | None]]
"""A question of a check's own, and its answer; None where it does not apply to the image."""
