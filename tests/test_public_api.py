"""The front door: cheap to open, whole, and held to one convention."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import workbench as wb

PACKAGE = Path(wb.__file__).parent
NAMES = re.findall(r"^from (\.\S*) import (\w+)", (PACKAGE / "__init__.pyi").read_text(encoding="utf-8"), re.M)
FUNCTIONS = [name for room, name in NAMES if room != "." and name[0].islower()]


def cpu_seconds(code: str) -> float:
    """CPU seconds of a fresh interpreter that runs `code`: the least of five, since others share the machine."""
    measure = f"{code}\nimport resource; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"
    runs = [
        subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True) for _ in range(5)
    ]
    return min(float(run.stdout.split()[-1]) for run in runs)


def test_import_costs_under_150_milliseconds_more_than_python_itself() -> None:
    assert cpu_seconds("import workbench") - cpu_seconds("pass") < 0.15


@pytest.mark.parametrize("heavy", ["torch", "monai", "shap", "captum", "matplotlib", "pandas", "numpy", "IPython"])
def test_import_loads_nothing_heavy(heavy: str) -> None:
    code = f"import sys, workbench; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_auditing_a_table_never_loads_torch() -> None:
    code = (
        "import sys, pandas as pd, workbench as wb\n"
        "t = pd.DataFrame({'y': [0, 1] * 40, 's': [k / 80 for k in range(80)], 'sex': ['F', 'M', 'M', 'F'] * 20})\n"
        "wb.audit(t, by=['sex'], label='y', score='s')\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", [name for _, name in NAMES])
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(wb, name) is not None
    assert name in dir(wb)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_take_at_most_three_positional_arguments_and_say_what_they_do(name: str) -> None:
    function = getattr(wb, name)
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    assert len(positional) <= 3
    assert "Parameters" in inspect.getdoc(function)


@pytest.mark.parametrize("verb", ["explain", "audit"])
@pytest.mark.parametrize("first", ["import workbench.{0}", "from workbench.{0} import {0}", "import workbench"])
def test_rooms_that_are_verbs_can_be_called_whichever_import_came_first(verb: str, first: str) -> None:
    code = f"{first.format(verb)}\nimport sys, workbench as wb; sys.exit(not callable(wb.{verb}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_and_stays_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 400


def test_every_public_function_and_class_of_the_rooms_has_a_docstring() -> None:
    silent = []
    for path in PACKAGE.rglob("*.py"):
        dotted = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for name, thing in vars(importlib.import_module(dotted)).items():
            own = getattr(thing, "__module__", None) == dotted and not name.startswith("_")
            if own and (inspect.isfunction(thing) or inspect.isclass(thing)) and not inspect.getdoc(thing):
                silent.append(f"{dotted}.{name}")
    assert not silent
