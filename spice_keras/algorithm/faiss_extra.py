"""FAISS, an extra, asked for before anything heavy is imported."""

from __future__ import annotations

import importlib.util

from spice_keras.errors import UserError


def require_faiss() -> None:
    """Refuse to go on without FAISS.

    Raises:
        UserError: If it is not installed.
    """
    if importlib.util.find_spec("faiss") is None:
        raise UserError(
            "The approximate search for neighbours needs FAISS, which is not installed. Run "
            "pip install 'spice-keras[faiss]', or search exactly: embed.neighbor_search=exact."
        )
