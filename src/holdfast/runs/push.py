"""Bring an exported folder to the Hub through huggingface_hub, which knows about tokens, large files and retries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def check_name(name: str) -> None:
    """Whether this can be a model of the Hub, before anything is exported for it.

    Raises:
        HoldfastError: It is no ``ORG/NAME``.
    """
    if not _NAME.fullmatch(name) or ".." in name or "--" in name:
        raise HoldfastError(f"'{name}' is no name of a model on the Hub", remedy="write --push ORG/NAME")


def check_access(name: str) -> None:
    """Whether somebody is logged in; asked before the model is merged, which may take long.

    Raises:
        HoldfastError: No token, one that the Hub does not know, or no network.
    """
    from huggingface_hub import HfApi

    _asked(name, lambda: HfApi().whoami())


def push(folder: Path, name: str, *, private: bool = True) -> str:
    """Upload every file of a folder as one commit; a repository that is not there is made.

    Args:
        folder: What :mod:`holdfast.runs.export` wrote.
        name: ``ORG/NAME``.
        private: Whether a repository that is made here is private; one that is there stays as it is.

    Returns:
        The address of the model.

    Raises:
        HoldfastError: The Hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    api = HfApi()
    made = _asked(name, lambda: api.create_repo(name, private=private, exist_ok=True))
    _asked(name, lambda: api.upload_folder(repo_id=name, folder_path=folder, commit_message="Exported by Holdfast"))
    return str(made)


def _asked(name: str, ask: Any) -> Any:
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        return ask()
    except LocalTokenNotFoundError as error:
        raise HoldfastError("nobody is logged in to the Hub", remedy="hf auth login, or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            remedy = f"log in with a token that may write to {name.partition('/')[0]}"
            raise HoldfastError(f"the Hub does not let this token write '{name}' ({status})", remedy=remedy) from error
        why = " ".join(str(error).split())[:300]
        raise HoldfastError(f"the Hub refused '{name}' ({why})", remedy="give the same command again") from error
    except (OSError, OfflineModeIsEnabled) as error:
        why = " ".join(str(error).split())[:200]
        remedy = "connect and upload the exported folder: hf upload ORG/NAME FOLDER"
        raise HoldfastError(f"the Hub cannot be reached ({why})", remedy=remedy) from error
    except Exception as error:  # transports raise their own kinds
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        remedy = "connect and upload the exported folder: hf upload ORG/NAME FOLDER"
        raise HoldfastError(f"the Hub cannot be reached ({why})", remedy=remedy) from error
