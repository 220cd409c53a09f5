"""The audit and its side questions for a shell: values from folders and files, settings from text, the answer as text."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, unknown_name
from workbench.storage import MANIFEST

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from workbench.audit.finding import Finding

TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".parquet")
# Values that are no questions, and the question that has a command of its own.
NOT_ASKED = ("Audit", "Finding", "audit")


def add_audit(verbs: Any) -> None:
    """Add ``workbench audit`` to the parsers of verbs."""
    verb = verbs.add_parser("audit", help="measure a table of scores, overall and by subgroup")
    verb.add_argument("scores", type=Path, help="a CSV/Excel/Parquet table of scores, or saved predictions")
    _add_columns(verb, "label", "score", "patient", "weight", "id")
    verb.add_argument(
        "--threshold", default=None, help="a number, the folder of a saved operating point, or '{\"sex=F\": 0.4, …}'"
    )
    verb.add_argument("--metrics", default=None, help="names with commas between (default: those of the task)")
    verb.add_argument("--positive", default=None, help="the positive class (default: the last of two)")
    verb.add_argument(
        "--reference", default=None, help="rest (default), mean, largest, or a group for an attribute: sex=M,site=A"
    )
    verb.add_argument("--prevalence", type=float, default=None, help="weigh every group to this share of positives")
    verb.add_argument("--interval", default=None, help="auto (default), percentile or BCa")
    verb.add_argument("--level", type=float, default=None, help="confidence of the intervals (default: 0.95)")
    verb.add_argument("--replicates", type=int, default=None, help="bootstrap replicates (default: 1000)")
    verb.add_argument("--permutations", type=int, default=None, help="of patients between groups, for p-values of gaps")
    verb.add_argument("--seed", type=int, default=None)
    verb.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a further setting, e.g. bins=10"
    )
    verb.add_argument("--which", choices=("table", "gaps", "ratios"), default="table", help="which table is printed")
    _add_forms(verb)
    verb.add_argument("--out", type=Path, default=None, help="folder to save the audit in")
    verb.set_defaults(run=_audit)


def _audit(options: argparse.Namespace) -> None:
    from workbench.audit.assess import audit

    names = (
        "label", "score", "patient", "weight", "id", "positive", "prevalence", "interval", "level", "replicates", "permutations",
        "seed",
    )  # fmt: skip
    settings = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.threshold is not None:
        settings["threshold"] = read(options.threshold)
    if options.metrics is not None:
        settings["metrics"] = names_of(options.metrics)
    if options.reference is not None:
        settings["reference"] = _reference(options.reference)
    result = audit(options.scores, by=by_of(options.by), **settings, **settings_of(options.set))
    if options.form == "markdown":
        print(result.to_markdown(options.which))
    elif options.form == "latex":
        print(result.to_latex(options.which))
    elif options.form == "sentences":
        print("\n".join([*result.sentences(), "", *result.methods()]))
    else:
        table = getattr(result, options.which)
        print(table.to_string(index=False, float_format="%.3f", max_colwidth=60))
    if options.out:
        print(f"Saved in {result.save(options.out)}")


def add_ask(verbs: Any) -> None:
    """Add ``workbench ask`` to the parsers of verbs."""
    verb = verbs.add_parser(
        "ask",
        help="ask one question of saved predictions, tables or reader studies: compare, criteria, mrmc, drift, …",
        description="Every verb of wb.audit, as docs/audit.md lists them. Folders hold saved predictions, findings or cohorts; a "
        "table of scores needs --label and --score. Example: workbench ask compare old new --by sex --out found",
    )
    verb.add_argument("question", help="compare, criteria, operating_point, delong, decision_curve, mrmc, drift, …")
    verb.add_argument("values", nargs="*", help="what it is asked of, in the order of wb.audit.QUESTION(…)")
    _add_columns(verb, "label", "score", "patient", "weight", "id")
    verb.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting; folders are opened: threshold=point",
    )
    _add_forms(verb)
    verb.add_argument("--out", type=Path, default=None, help="folder to save the finding in")
    verb.set_defaults(run=_ask)


def _ask(options: argparse.Namespace) -> None:
    settings = settings_of(options.set)
    if options.by:
        settings["by"] = by_of(options.by)
    columns = {name: getattr(options, name) for name in ("label", "score", "patient", "weight", "id")}
    answer = ask(
        options.question, options.values, settings, {name: one for name, one in columns.items() if one is not None}
    )
    # A mitigation gives predictions too.
    found = getattr(answer, "finding", answer)
    print(printed(found, options.form))
    if options.out:
        print(f"Saved in {found.save(options.out)}")
        if answer is not found:
            changed = options.out.with_name(f"{options.out.name}-predictions")
            print(f"The changed predictions are in {answer.predictions.save(changed)}")


def _add_columns(verb: Any, *roles: str) -> None:
    verb.add_argument(
        "--by", action="append", default=[], help="attribute, or several with commas for their intersection"
    )
    for role in roles:
        verb.add_argument(f"--{role}", help=f"the table's column of {role}s")


def _add_forms(verb: Any) -> None:
    form = verb.add_mutually_exclusive_group()
    for name, what in (
        ("markdown", "print the table as Markdown"),
        ("latex", "print the table as LaTeX (booktabs)"),
        ("sentences", "print what results and methods sections could say"),
    ):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, default="", help=what)


def questions() -> dict[str, Callable[..., Any]]:
    """Return every verb of ``wb.audit`` that gives a finding, by name."""
    import workbench.audit as room

    found = {name: getattr(room, name) for name in sorted(room.__all__) if name not in NOT_ASKED}
    return {name: getattr(one, name) if isinstance(one, ModuleType) else one for name, one in found.items()}


def ask(verb: str, values: Sequence[str], settings: Mapping[str, Any], columns: Mapping[str, str]) -> Any:
    """Ask one question.

    Parameters
    ----------
    verb : as in ``wb.audit.<verb>``.
    values : what it is asked of: folders of saved values, tables, ``.npy`` files, numbers, names.
    settings : by name; text in them may be a folder too.
    columns : of tables: ``label, score, patient, weight, id``, those that were named.

    Raises
    ------
    InputError : where the verb or a setting is unknown, or a value is missing.
    """
    known = questions()
    if verb not in known:
        raise unknown_name("question", verb, known)
    takes = inspect.signature(known[verb]).parameters
    for name in settings:
        if name not in takes:
            kind = f"{verb}: setting"
            raise unknown_name(kind, name, takes)
    own = "label" in takes
    lacking = [name for name in columns if own and name not in takes]
    if lacking:
        message = f"{verb} takes no {lacking[0]} column; leave --{lacking[0]} out."
        raise InputError(message)
    tables = None if own else dict(columns)
    given = [read(value, tables) for value in values]
    # Attributes are names, whatever else is called so.
    chosen = {name: value if name == "by" else read(value, tables) for name, value in settings.items()}
    chosen |= dict(columns) if own else {}
    try:
        bound = inspect.signature(known[verb]).bind(*given, **chosen)
    except TypeError as error:
        message = f"{verb}: {error}. It takes {', '.join(map(_described, takes.values()))}."
        raise InputError(message) from error
    return known[verb](*bound.args, **bound.kwargs)


def read(given: Any, columns: Mapping[str, str] | None = None) -> Any:
    """Return what a text stands for: a saved value, an array, predictions of a table, a number or list, else the text.

    Parameters
    ----------
    given : from the command line; lists and mappings are read entry by entry.
    columns : of tables, which become predictions by them; None leaves their paths as they are.
    """
    if isinstance(given, list):
        return tuple(read(one, columns) for one in given)
    if isinstance(given, dict):
        return {name: read(one, columns) for name, one in given.items()}
    return _read(given, columns) if isinstance(given, str) else given


def _read(text: str, columns: Mapping[str, str] | None) -> Any:
    plain = _plain(text)
    if not isinstance(plain, str):
        return read(plain, columns)
    path = Path(plain)
    if path.suffix.lower() == ".npy":
        return _array(path)
    if path.suffix.lower() in TABLES:
        return path if columns is None else _predictions(path, columns)
    # A folder may be called as an attribute or a class is.
    return _saved(path) if (path / MANIFEST).is_file() else plain


def _array(path: Path) -> Any:
    from workbench.storage import read_array

    if not path.is_file():
        message = f"{path} does not exist; give an array of embeddings, one row an image."
        raise InputError(message)
    return read_array(path)


def _saved(folder: Path) -> Any:
    from workbench.audit.finding import Finding
    from workbench.cohorts.cohort import Cohort
    from workbench.predictions import Predictions
    from workbench.storage import saved_kind

    kinds: dict[str, Callable[[Path], Any]] = {
        "Predictions": Predictions.load, "Finding": Finding.load, "Cohort": Cohort.load,
    }  # fmt: skip
    kind = str(saved_kind(folder))
    if kind not in kinds:
        message = f"{folder} holds a saved {kind}; give a folder of a saved {' or '.join(kinds)}."
        raise InputError(message)
    return kinds[kind](folder)


def _predictions(path: Path, columns: Mapping[str, str]) -> Any:
    from workbench.predictions import Predictions

    if "label" not in columns or "score" not in columns:
        message = f"{path} is a table: say which columns are which, --label and --score, and --patient where patients have several images."
        raise InputError(message)
    return Predictions.from_table(path, **columns)


def _described(parameter: inspect.Parameter) -> str:
    """Write a parameter as the shell takes it."""
    needed = parameter.default is inspect.Parameter.empty
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        return f"--set {parameter.name}={'…' if needed else parameter.default}"
    return parameter.name.upper() if needed else f"[{parameter.name.upper()}]"


def printed(finding: Finding, form: str) -> str:
    """Return a finding as text: ``"markdown"``, ``"latex"``, ``"sentences"`` (with the methods), else table and sentences."""
    if form == "markdown":
        return finding.to_markdown()
    if form == "latex":
        return finding.to_latex()
    said = [*finding.sentences, "", *finding.methods] if form == "sentences" else ["", *finding.sentences]
    if form == "sentences":
        return "\n".join(said)
    from workbench.audit.paper import shown

    return "\n".join([shown(finding.table).to_string(index=False, max_colwidth=60), *said])


def by_of(entries: Sequence[str]) -> list[Any]:
    """Read ``sex`` as an attribute, ``sex,age`` as two to be crossed."""
    return [names[0] if len(names) == 1 else tuple(names) for names in map(names_of, entries)]


def _reference(text: str) -> str | dict[str, str]:
    """Read ``mean`` as it is, ``sex=M,site=A`` as a group for each attribute."""
    return dict(part.split("=", 1) for part in names_of(text) if "=" in part) if "=" in text else text


def names_of(text: str) -> list[str]:
    """Take names apart that stand with commas between."""
    return [name.strip() for name in text.split(",")]


def settings_of(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs; a value that reads as JSON (a number, a list, true) is that, else text."""
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            message = f"--set {pair!r} needs the form NAME=VALUE, for example --set shortcut=0.9."
            raise InputError(message)
        settings[name] = _plain(value)
    return settings


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
