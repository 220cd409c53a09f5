"""Reader studies: several readers, several cases, two or more modalities. The package itself is the verb."""

import lazy_loader as _lazy

from workbench._verb import make_callable

__getattr__, __dir__, __all__ = _lazy.attach(__name__, submod_attrs={"reader_study": ["mrmc"]})
make_callable(__name__)
