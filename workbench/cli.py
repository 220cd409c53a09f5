"""The verbs for a shell: ``workbench demo | lab | load | train | predict | explain | trust | audit | ask | figure | show-provenance``.

Nothing heavy is imported before a verb is known, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__
from workbench.ask import add_ask, add_audit, by_of, names_of, settings_of
from workbench.errors import EvidenceWarning, InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return 0, or 2 where the input was wrong (said in a sentence on stderr)."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _said(options.verb, warnings.showwarning)
            options.run(options)
    except InputError as error:
        print(f"workbench {options.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"workbench {options.verb}: stopped.", file=sys.stderr)
        return 130
    return 0


def _said(verb: str, otherwise: Any) -> Any:
    """Return what says in a sentence on stderr what a reader must know before the numbers."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, EvidenceWarning):
            print(f"workbench {verb}: {message}", file=sys.stderr)
        else:
            otherwise(message, category, *where, **more)

    return show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workbench",
        description="Load a cohort of medical images, train a model, see what it looks at, measure whom it fails.",
    )
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for add in (
        _add_demo,
        _add_lab,
        _add_load,
        _add_train,
        _add_predict,
        _add_explain,
        _add_trust,
        add_audit,
        add_ask,
        _add_figure,
        _add_show,
    ):
        add(verbs)
    return parser


def _add_demo(verbs: Any) -> None:
    verb = verbs.add_parser("demo", help="train, explain and audit on a generated cohort; ends with one HTML page")
    verb.add_argument("--out", type=Path, default=Path("workbench-demo"), help="folder for figures, tables and page")
    verb.add_argument("--images", type=int, default=None, help="images a cohort (default: the phantom's own)")
    verb.add_argument("--epochs", type=int, default=None, help="epochs at most (default: the training's own)")
    verb.add_argument("--seed", type=int, default=7)
    verb.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from workbench.reports.demo import demo

    page = demo(options.out, images=options.images, epochs=options.epochs, seed=options.seed)
    print(f"Open this page in a browser:\n{page.resolve()}")


def _add_lab(verbs: Any) -> None:
    verb = verbs.add_parser("lab", help="open JupyterLab on the start notebook (this machine only, with a token)")
    verb.add_argument("--port", type=int, default=8888)
    verb.add_argument("--no-browser", action="store_true", help="print the address instead of opening a browser")
    verb.set_defaults(run=_lab)


def _lab(options: argparse.Namespace) -> None:
    from workbench.lab import lab

    if code := lab(port=options.port, browser=not options.no_browser):
        message = f"JupyterLab stopped with exit code {code}; its last lines above say why."
        raise InputError(message)


def _add_load(verbs: Any) -> None:
    verb = verbs.add_parser(
        "load", help="make a cohort of a named set, a table, a folder or a MedMNIST file, and save it"
    )
    verb.add_argument("source", help="phantom-mammography, another set's name, a CSV/Excel/Parquet table, or a folder")
    verb.add_argument("--out", type=Path, required=True, help="folder for the cohort")
    for column in ("image", "label", "patient", "mask"):
        verb.add_argument(f"--{column}", help=f"the table's column of {column}s")
    verb.add_argument("--attributes", help="columns to break results down by, with commas between")
    verb.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a phantom's knob, e.g. shortcut=0.9"
    )
    verb.set_defaults(run=_load)


def _load(options: argparse.Namespace) -> None:
    from workbench.cohorts.load import load

    settings = {
        name: getattr(options, name) for name in ("image", "label", "patient", "mask") if getattr(options, name)
    }
    if options.attributes:
        settings["attributes"] = names_of(options.attributes)
    cohort = load(options.source, **settings, **settings_of(options.set))
    print(f"{cohort!r}\nSaved in {cohort.save(options.out)}")


def _add_train(verbs: Any) -> None:
    verb = verbs.add_parser("train", help="split a saved cohort by patient, train, and predict the test part")
    verb.add_argument("cohort", type=Path, help="folder that `workbench load` wrote")
    verb.add_argument("--out", type=Path, required=True, help="folder for model, test cohort and predictions")
    verb.add_argument("--network", default=None, help="compact (default), resnet10, resnet18, densenet121, …")
    verb.add_argument("--epochs", type=int, default=None)
    verb.add_argument("--seed", type=int, default=0)
    verb.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    from workbench.cohorts.cohort import Cohort
    from workbench.models.train import train

    settings = {name: getattr(options, name) for name in ("network", "epochs") if getattr(options, name) is not None}
    learn, tune, test = Cohort.load(options.cohort).split(by="patient", seed=options.seed)
    # Stopped at any moment, the same command goes on from the checkpoint to the same weights.
    model = train(learn, tune, seed=options.seed, checkpoint=options.out / "checkpoint", **settings)
    model.save(options.out / "model")
    test.save(options.out / "test")
    model.predict(test).save(options.out / "predictions")
    print(f"{model!r}\nSaved model, test and predictions in {options.out}")


def _add_predict(verbs: Any) -> None:
    verb = verbs.add_parser("predict", help="score a saved cohort with a saved model")
    verb.add_argument("model", type=Path)
    verb.add_argument("cohort", type=Path)
    verb.add_argument("--out", type=Path, required=True)
    verb.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> None:
    from workbench.cohorts.cohort import Cohort
    from workbench.models.model import Model

    predictions = Model.load(options.model).predict(Cohort.load(options.cohort))
    print(f"{predictions!r}\nSaved in {predictions.save(options.out)}")


def _add_explain(verbs: Any) -> None:
    verb = verbs.add_parser("explain", help="make heat maps of a saved model on a saved cohort")
    verb.add_argument("model", type=Path)
    verb.add_argument("cohort", type=Path)
    verb.add_argument("--out", type=Path, required=True, help="grows as maps are made; the same command goes on")
    verb.add_argument("--method", default="gradcam", help="gradcam (default), shap, region-shap, occlusion, …")
    verb.add_argument("--target", default="predicted", help="a class, 'predicted' (default), 'true' or 'each'")
    rather = verb.add_mutually_exclusive_group()
    rather.add_argument("--against", default=None, metavar="CLASS", help="explain the target rather than this class")
    rather.add_argument("--mask", default=None, help="of a segmentation: sum the target over this mask")
    verb.add_argument(
        "--background", type=Path, default=None, help="saved cohort to compare with, for shap and its kin"
    )
    verb.add_argument("--first", type=int, default=None, metavar="N", help="only the first N images")
    verb.add_argument("--batch-size", type=int, default=16)
    verb.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, e.g. samples=200")
    verb.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> None:
    from workbench.cohorts.cohort import Cohort
    from workbench.explain.attribute import explain
    from workbench.explain.target import Margin, Over
    from workbench.models.model import Model

    cohort, model = Cohort.load(options.cohort), Model.load(options.model)
    if options.first is not None:
        if options.first < 1:
            message = f"--first {options.first} must be at least 1: how many images are explained, from the first on."
            raise InputError(message)
        cohort = cohort.subset(cohort.ids[: options.first])
    target: Any = _class(options.target, model.classes)
    if options.against is not None:
        target = Margin(target, _class(options.against, model.classes))
    elif options.mask is not None:
        target = Over(target, mask=options.mask)
    maps = explain(
        model, cohort, options.method, target=target, batch_size=options.batch_size, out=options.out,
        **_background(options.background), **settings_of(options.set),
    )  # fmt: skip
    print(f"{maps!r}\nSaved in {options.out}")


def _add_trust(verbs: Any) -> None:
    verb = verbs.add_parser("trust", help="gather what speaks for and against saved heat maps, overall and by subgroup")
    verb.add_argument("model", type=Path)
    verb.add_argument("cohort", type=Path)
    verb.add_argument("maps", type=Path, nargs="+", help="folders that `workbench explain` wrote; several are compared")
    verb.add_argument(
        "--by", action="append", default=[], help="attribute, or several with commas for their intersection"
    )
    verb.add_argument("--background", type=Path, default=None, help="saved cohort that the maps were made with, if any")
    verb.add_argument("--part", action="append", default=[], help="sanity, faithfulness, … (default: all that apply)")
    verb.add_argument("--out", type=Path, default=None, help="folder to save the evidence in")
    verb.set_defaults(run=_trust)


def _trust(options: argparse.Namespace) -> None:
    from workbench.cohorts.cohort import Cohort
    from workbench.explain.attributions import Attributions
    from workbench.explain.quality.trust import trust
    from workbench.models.model import Model

    by = by_of(options.by)
    loaded = {str(folder): Attributions.load(folder) for folder in options.maps}
    one_each = len({maps.method for maps in loaded.values()}) == len(loaded)
    # Two of one method (two layers, two targets) are told apart by their folders.
    maps: Any = list(loaded.values()) if one_each else loaded
    found = trust(
        Model.load(options.model), maps, cohort=Cohort.load(options.cohort), by=by or None, parts=options.part or None,
        settings=_background(options.background),
    )  # fmt: skip
    columns = ["method", "measure", "group", "value", "low", "high", "baseline", "n", "patients", "note"]
    shown = found.table if by else found.table[found.table["group"] == "all"]
    print(shown[columns].to_string(index=False, float_format="%.3f", max_colwidth=60))
    for one in found.verdicts:
        print(f"{one.method}: {one.answer.upper()}. {one.sentence}")
    if options.out:
        print(f"Saved in {found.save(options.out)}")


FIGURES = {
    "attribution-grid": ("Attributions", "Cohort"), "calibration": ("Audit",), "cohort-montage": ("Cohort",),
    "decision-curve": ("Finding",), "forest": ("Audit",), "gap-over-threshold": ("Audit",), "learning-curve": ("Model",),
    "map-evidence": ("Trust",), "mrmc": ("Finding",), "precision-recall": ("Audit",), "roc": ("Audit",),
    "stard": ("Finding",), "subgroup-heatmap": ("Audit",),
}  # fmt: skip
"""What each figure is drawn of."""


def _add_figure(verbs: Any) -> None:
    verb = verbs.add_parser("figure", help="draw a saved value into a PDF, SVG or PNG that knows its provenance")
    verb.add_argument("kind", help=", ".join(FIGURES))
    verb.add_argument(
        "values",
        type=Path,
        nargs="+",
        help="the saved audit, finding or evidence; for attribution-grid the maps, then the cohort",
    )
    verb.add_argument("--out", type=Path, required=True, help="file ending in .pdf, .svg or .png")
    verb.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, e.g. metric=sensitivity"
    )
    verb.set_defaults(run=_figure)


def _figure(options: argparse.Namespace) -> None:
    if options.kind not in FIGURES:
        raise unknown_name("figure", options.kind, FIGURES)
    takes = FIGURES[options.kind]
    if len(options.values) != len(takes):
        message = f"{options.kind} takes {' and '.join(takes)}, one folder each; {len(options.values)} given."
        raise InputError(message)
    from inspect import Parameter, signature

    from workbench import figures

    values = [_loader(kind)(folder) for kind, folder in zip(takes, options.values, strict=True)]
    draw, settings = getattr(figures, options.kind.replace("-", "_")), settings_of(options.set)
    known = [one for one in signature(draw).parameters.values() if one.name != "ax"][len(values) :]
    for name in settings:
        if name not in [one.name for one in known]:
            kind = f"{options.kind}: setting"
            raise unknown_name(kind, name, [one.name for one in known])
    for one in known:
        if one.default is Parameter.empty and one.name not in settings:
            message = f"{options.kind} needs --set {one.name}=…."
            raise InputError(message)
    draw(*values, **settings).savefig(options.out)
    print(options.out)


def _loader(kind: str) -> Any:
    """Return what loads a kind of value; only its own room is imported."""
    from importlib import import_module

    rooms = {
        "Attributions": "explain.attributions", "Audit": "audit.result", "Cohort": "cohorts.cohort",
        "Finding": "audit.finding", "Model": "models.model", "Trust": "explain.quality.result",
    }  # fmt: skip
    return getattr(import_module(f"workbench.{rooms[kind]}"), kind).load


def _add_show(verbs: Any) -> None:
    verb = verbs.add_parser("show-provenance", help="tell what made a figure or a saved value")
    verb.add_argument("path", type=Path, help="a PDF, SVG or PNG drawn by Workbench, or a saved value's folder")
    verb.add_argument("--json", action="store_true", help="the whole record, for a program")
    verb.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> None:
    from workbench.provenance import Provenance

    if options.path.is_dir():
        provenance = Provenance.load(options.path)
    else:
        from workbench.figures import read_provenance

        provenance = read_provenance(options.path)
    if options.json:
        print(provenance.to_json())
        return
    print(provenance.lineage())
    print("made with " + ", ".join(f"{name} {version}" for name, version in provenance.versions.items()))


def _class(given: str, classes: Sequence[str]) -> str | int:
    """Read a class by name or, where none is called so, by index."""
    return int(given) if given not in classes and given.removeprefix("-").isdecimal() else given


def _background(folder: Path | None) -> dict[str, Any]:
    from workbench.cohorts.cohort import Cohort

    return {} if folder is None else {"background": Cohort.load(folder)}


if __name__ == "__main__":
    sys.exit(main())
