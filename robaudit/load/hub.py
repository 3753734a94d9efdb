"""`hf-hub:organisation/name[@revision]`: a model folder fetched from the Hugging Face hub into its own cache.

What arrives is read like any folder: nothing in it runs.
"""

from pathlib import Path

from robaudit.errors import ModelError
from robaudit.load.folder import CONFIG_FILE, PREPROCESSOR_FILE, PROCESSOR_FILE

SCHEME = "hf-hub:"
"""As timm spells it."""
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def local_folder(path: Path) -> Path:
    """The folder that holds a model of the hub, fetched if need be; any other path is returned as it is.

    Raises:
        ModelError: the hub cannot be reached, or has no such model.
    """
    if not str(path).startswith(SCHEME):
        return path
    repository, _, revision = str(path).removeprefix(SCHEME).partition("@")
    config = _fetched(path, repository, revision, CONFIG_FILE)
    assert config is not None
    for name in (PREPROCESSOR_FILE, PROCESSOR_FILE):
        _fetched(path, repository, revision, name, needed=False)
    for name in WEIGHTS:
        if _fetched(path, repository, revision, name, needed=name == WEIGHTS[-1]) is not None:
            break
    return config.parent


def _fetched(path: Path, repository: str, revision: str, name: str, *, needed: bool = True) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, revision=revision or None))
    except EntryNotFoundError as error:
        if not needed:
            return None
        raise _refused(path, error) from None
    except Exception as error:
        # Connections fail in as many ways as there are networks.
        raise _refused(path, error) from None


def _refused(path: Path, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ModelError(f"{path}: cannot be fetched ({reason}); check the name and the network, or pass a local folder")
