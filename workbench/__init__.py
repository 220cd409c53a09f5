"""Workbench: load a cohort of medical images, train, see what the model looks at, measure whom it fails.

Every public name is imported when it is first used (scientific-python SPEC 1), so that ``import workbench`` costs
almost nothing and neither torch nor matplotlib is loaded by somebody who only audits a table of scores.
"""

import lazy_loader as _lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
