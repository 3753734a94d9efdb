"""What runs in another process, on this machine or elsewhere: a curve engine that is given shards of images.

A worker holds the model once. It hands on what it has found every half second, so that little is lost with it.
"""

from __future__ import annotations

import copy
import os
import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robaudit import __version__
from robaudit.attack.curve import Engine
from robaudit.attack.prepare import Speedups, fingerprint
from robaudit.attack.trial import Plan
from robaudit.data.images import ImageRef, Images
from robaudit.fleet.parcel import seal, unseal, work_in
from robaudit.fleet.watch import Watch
from robaudit.load.provenance import versions

HAND_OVER_SECONDS = 0.5
"""How often findings are handed on: a driver of 64 workers then hears 128 times a second, however fast they are."""

Finding = tuple[str, Any]
"""Image id, and what was found for it."""
Ask = Callable[[Engine, Images], Iterator[Finding]]
"""What to ask of images; importable wherever a worker runs."""


@dataclass(frozen=True)
class Shard:
    """Images to ask something of, and what to ask."""

    refs: tuple[ImageRef, ...]
    ask: Ask

    def without(self, done: set[str]) -> Shard:
        """The shard without these images."""
        return replace(self, refs=tuple(ref for ref in self.refs if ref.id not in done))

    def only(self, ids: Collection[str]) -> Shard:
        """The shard without all but these images."""
        return replace(self, refs=tuple(ref for ref in self.refs if ref.id in ids))

    def halves(self) -> tuple[Shard, Shard]:
        """The shard in two; of a single image, one is empty."""
        middle = (len(self.refs) + 1) // 2
        return replace(self, refs=self.refs[:middle]), replace(self, refs=self.refs[middle:])


@dataclass(frozen=True)
class Found:
    """What a worker has found since it was last asked."""

    findings: tuple[Finding, ...]
    is_end: bool
    """Of the shard."""
    changed_model: bool = False
    """Whether the model is no longer what it was when the worker started."""
    hangs_at: frozenset[str] = frozenset()
    """Images that the model was asked about and never answers; the worker is lost."""


@dataclass(frozen=True)
class Place:
    """Where a worker runs: everything that could make the same question end differently, and its process."""

    device: str
    """`cpu`, or a GPU's model."""
    cpu_capability: str
    """Instruction set that torch computes with on CPUs, such as AVX512."""
    n_threads: int
    versions: Mapping[str, str]
    process: str
    """Host and process id."""

    @property
    def decisive(self) -> dict[str, str | int]:
        """What could make the same question end differently."""
        instructions = {"instructions": self.cpu_capability} if self.device == "cpu" else {}
        return {"device": self.device, "threads": self.n_threads, **self.versions, **instructions}

    def difference(self, other: Place) -> str:
        """What differs in `other`, as words; empty where numbers agree but for chance."""
        mine, theirs = self.decisive, other.decisive
        return next(
            (f"{name} {theirs.get(name)}, here {mine.get(name)}" for name in mine if mine[name] != theirs.get(name)), ""
        )


def place_of(device: torch.device) -> Place:
    """Where this process computes."""
    return Place(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        n_threads=torch.get_num_threads(),
        versions={"robaudit": __version__, **versions()},
        process=f"{platform.node()} process {os.getpid()}",
    )


@dataclass(frozen=True)
class Orders:
    """What makes a worker's engine the twin of the driver's."""

    model: nn.Module
    """On the CPU, as is the surrogate: what is sent knows no device of the sender's."""
    surrogate: nn.Module | None
    size: tuple[int, int]
    plan: Plan
    batch_size: int | None
    width: int
    speedups: Speedups
    n_threads: int
    images: Images
    """Without its refs: shards bring those."""
    hang_after: float
    """Seconds that one pass over a batch may take; 0 waits for ever."""
    folder: str
    """Where the driver runs: paths of images may be relative to it."""


def sealed(engine: Engine, images: Images, hang_after: float = 0.0) -> bytes:
    """Orders for workers, as bytes: every kind of worker is sent the same.

    Args:
        engine: the driver's.
        images: the set that shards are taken from.
        hang_after: seconds after which a worker counts as hanging over a batch; 0 for never.

    Raises:
        ModelError: the model cannot be sent to another process.
    """
    model, surrogate = (None if net is None else copy.deepcopy(net).cpu() for net in (engine.model, engine.surrogate))
    assert model is not None
    orders = Orders(
        model, surrogate, engine.size, engine.plan, engine.batch_size, engine.width, engine.speedups,
        torch.get_num_threads(), replace(images, refs=()), hang_after,
        str(Path.cwd()),
    )  # fmt: skip
    return seal(orders, "scan with --engine local --workers 1")


class Worker:
    """Asks the engine what it is told to, in a process of its own."""

    def __init__(self, orders: bytes, device: str) -> None:
        """Keep the orders; `start` carries them out, so that what goes wrong there can be told."""
        self._orders, self._device = orders, device
        self._findings: Iterator[Finding] = iter(())

    def start(self) -> Place:
        """Build the engine; returns where it runs."""
        orders: Orders = unseal(self._orders)
        work_in(orders.folder)
        torch.set_num_threads(orders.n_threads)
        self._watch = Watch(orders.hang_after)
        model, surrogate = (None if net is None else net.to(self._device) for net in (orders.model, orders.surrogate))
        assert model is not None
        self._engine = Engine(
            model, orders.size, orders.images.channels, orders.plan, orders.batch_size, orders.speedups, surrogate,
            self._watch,
        )  # fmt: skip
        self._engine.width = orders.width  # one padded shape everywhere, whatever would fit here
        self._images = orders.images
        self._state = fingerprint(model)
        return place_of(self._engine.device)

    def find(self, shard: Shard | None) -> Found:
        """Begin a shard, or go on with the last one (None); returns what came to light."""
        if shard is not None:
            self._findings = shard.ask(self._engine, replace(self._images, refs=shard.refs))
        found: list[Finding] = []
        if hangs_at := self._watch.over(partial(self._collect, found)):
            return Found(tuple(found), is_end=False, hangs_at=hangs_at)
        is_end = self._is_end
        changed = is_end and fingerprint(self._engine.model) != self._state
        return Found(tuple(found), is_end, changed)

    def _collect(self, found: list[Finding]) -> None:
        """Let findings come to light for a while, or to the end of the shard."""
        self._is_end = False
        until = time.monotonic() + HAND_OVER_SECONDS
        for finding in self._findings:
            found.append(finding)
            if time.monotonic() > until:
                return
        self._is_end = True
