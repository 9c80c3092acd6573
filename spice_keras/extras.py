"""Optional dependencies, asked for by the extra that installs them."""

from __future__ import annotations

import importlib.util

from spice_keras.errors import UserError


def require_extra(extra: str, module: str, *, purpose: str, otherwise: str) -> None:
    """Refuse to go on without an optional dependency, before anything heavy is imported.

    Args:
        extra: The extra of this package that installs it.
        module: What is imported.
        purpose: What needs it, the beginning of the sentence.
        otherwise: What to do without it.

    Raises:
        UserError: If it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"{purpose} needs {module}, which is not installed. Run "
            f"pip install 'spice-keras[{extra}]', or {otherwise}."
        )
