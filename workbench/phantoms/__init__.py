"""Synthetic cohorts with known truth, and readers to look at them."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, submod_attrs={"reader_panel": ["reader_panel"]})
