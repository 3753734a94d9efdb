"""How long-running work reports its progress. A leaf: the stages know this protocol, the command line draws it."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """A stage has a name and a total; it advances, and may carry a short note."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a stage of `total` units of work, `done` of which an earlier run has finished and took no time now."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Report `n` finished units."""

    def finish(self) -> None:
        """End the stage."""

    def say(self, line: str) -> None:
        """Tell the person one thing."""

    def asking(self, images: Sequence[str]) -> None:
        """The model is about to be asked about these images, by id: where it never answers, they may be why.

        Of no images: it is asked no more.
        """


class Silent:
    """Progress that nobody watches: the Python API's default."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Say nothing."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def asking(self, images: Sequence[str]) -> None:
        """Say nothing."""
