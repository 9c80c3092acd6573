from __future__ import annotations

import pytest

from spice_keras.errors import UserError
from spice_keras.extras import require_extra


def test_says_what_to_install() -> None:
    require_extra("hub", "json", purpose="Reading", otherwise="write")
    with pytest.raises(UserError, match=r"pip install 'spice-keras\[hub\]', or write\.$"):
        require_extra("hub", "no_such_module", purpose="Reading", otherwise="write")
