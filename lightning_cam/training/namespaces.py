"""The `Callback` that both names of Lightning accept: ``lightning.pytorch`` and ``pytorch_lightning``."""

import importlib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytorch_lightning import Callback as Callback
else:
    # Each has a Callback of its own and accepts only that, so ours derives from all that are installed.
    _PACKAGES = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}
    _MODULES = [importlib.import_module(_PACKAGES[name]) for name in _PACKAGES if importlib.util.find_spec(name)]
    Callback = type("Callback", tuple(module.Callback for module in _MODULES), {})
