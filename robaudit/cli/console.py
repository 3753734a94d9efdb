"""Where words go: people read stderr, the artefact goes to stdout or its file."""

import sys


def to_stderr(line: str) -> None:
    """Tell the person one line; text from a file comes out inert (no control characters)."""
    print(printable(line), file=sys.stderr)


def printable(text: str) -> str:
    """Replace control and direction-changing characters, which could rewrite a terminal, by their escapes."""
    return "".join(
        character if character.isprintable() or character == "\n" else character.encode("unicode_escape").decode()
        for character in text
    )
