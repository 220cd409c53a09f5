"""What a model looks at: ``wb.explain(model, cohort, method=…)``. The package itself is the verb."""

import lazy_loader as _lazy

from workbench._verb import make_callable

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "attribute": ["explain"],
        "attributions": ["Attributions"],
        "methods": ["known_methods", "register"],
        "quality.agreement": ["agreement"],
        "quality.trust": ["trust"],
        "region_tables": ["region_interactions", "region_table"],
        "target": ["Margin", "Over"],
    },
)
make_callable(__name__)
