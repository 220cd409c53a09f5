"""What a model looks at, and whether that picture may be believed. The package itself is the verb.

``wb.explain(model, cohort, method=…, target=…)`` draws a map of each image. The way through:

- :mod:`.attribute` is the verb; :mod:`.reading` and :mod:`.target` say what may be asked, :mod:`.chosen` decides it once an
  image, :mod:`.task` puts it to a method batch by batch, within :mod:`.untouched`, which leaves no trace on the model.
- A *method* is a function ``(task, **settings) -> explain``, where ``explain`` answers one batch with a ``Part``;
  :mod:`.methods` lists them, :mod:`.own` makes one of anybody's function.
- :mod:`.gather` collects the parts, in memory or in a folder that can be gone on with, and :mod:`.attributions` is the value
  that comes out.

``wb.explain.trust(model, attributions)`` gathers the evidence, from :mod:`workbench.explain.quality`; ``agreement``
compares methods. ``register`` adds a method, ``Margin`` and ``Over`` are targets, ``region_table`` and
``region_interactions`` read what region SHAP found. ``docs/explanations.md`` tells which method shows what, and when it
lies.
"""

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
