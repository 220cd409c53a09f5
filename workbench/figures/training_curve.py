"""How a model learned: the losses and the AUROC, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from workbench.errors import InputError
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import styled, width_in_mm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.provenance import Provenance

LEFT, RIGHT, BELOW, ABOVE, GAP, HIGH = 13.0, 3.0, 10.0, 6.0, 14.0, 42.0  # mm


class Trained(Protocol):
    """What has learned and kept the record, such as a `Model`; this room knows nothing of torch."""

    @property
    def record(self) -> Mapping[str, Any]: ...
    @property
    def provenance(self) -> Provenance: ...


def learning_curve(model: Trained, *, width: float | str = "double", style: str = "default") -> Figure:
    """Draw the loss of both parts, and the AUROC on the tuning part, against the epoch.

    Parameters
    ----------
    model : made by :func:`workbench.train`.
    width : mm, ``"single"`` or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Returns
    -------
    The figure; a dotted line marks the epoch whose weights were kept.

    Raises
    ------
    InputError : where the model was not trained here, so that there is no record of it.
    """
    from matplotlib.ticker import MaxNLocator

    history = list(model.record.get("history", []))
    if not history:
        message = "this model has no record of its training; wb.train(…) keeps one, Model.wrap(…) cannot."
        raise InputError(message)
    made = figure_provenance("learning_curve", {"style": style}, {"model": model.provenance})
    wide = width_in_mm(width, style)
    tall, side = BELOW + HIGH + ABOVE, (wide - LEFT - GAP - RIGHT) / 2
    epochs = range(1, len(history) + 1)
    with styled(style):
        figure = Figure(wide, tall, style=style, provenance=made)
        loss, area = (
            figure.add_axes((left / wide, BELOW / tall, side / wide, HIGH / tall)) for left in (LEFT, LEFT + side + GAP)
        )
        mark = "o" if len(history) == 1 else None
        loss.plot(epochs, [one["loss"] for one in history], color="0.45", linestyle="--", marker=mark, label="training")
        loss.plot(epochs, [one["tune_loss"] for one in history], color="C0", marker=mark, label="tuning")
        area.plot(epochs, [one["tune_auroc"] for one in history], color="C1", marker=mark)
        loss.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
        loss.set(ylabel="Loss", ylim=(0, None))
        area.set(ylabel="AUROC, tuning", ylim=(min(0.5, *(one["tune_auroc"] for one in history)) - 0.02, 1.02))
        for ax in (loss, area):
            ax.set(xlabel="Epoch", xlim=(0.5, len(history) + 0.5))
            ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            if "best_epoch" in model.record:
                ax.axvline(model.record["best_epoch"], color="0.45", linewidth=0.6, linestyle=":", zorder=1)
    return figure
