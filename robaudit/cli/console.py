"""Where words go: people read stderr, the artefact goes to stdout or its file."""

import sys

from robaudit.inert import inert


def to_stderr(line: str) -> None:
    """Tell the person one line; whatever it quotes from a file comes out inert."""
    print(inert(line), file=sys.stderr, flush=True)
