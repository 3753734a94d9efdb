"""Text from a file is untrusted wherever a person reads it. A leaf."""


def inert(text: str) -> str:
    """One line that cannot rewrite a terminal or disguise itself: control and bidi characters become escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
