"""Open JupyterLab on the start notebook: on this machine only, behind a token."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from workbench.errors import FileError

START = "00-start-here.ipynb"


def lab(*, port: int = 8888, browser: bool = True) -> int:
    """Run JupyterLab until it is stopped, and return its exit code.

    Parameters
    ----------
    port : the port tried first; JupyterLab takes the next free one.
    browser : open the user's browser; else the address, with its token, is only printed.
    """
    notebook = start_notebook()
    command = [
        *(sys.executable, "-m", "jupyterlab"),
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={notebook.parent}",
        f"--LabApp.default_url=/lab/tree/{notebook.name}",
        # Asking for news would be a request to somebody else's server.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # In a container the user is often root, to whom JupyterLab says no unless told.
        command.append("--ServerApp.allow_root=True")
    if not browser:
        command.append("--no-browser")
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 0


def start_notebook() -> Path:
    """Find the start notebook: in a checkout where it lies, else as a copy in ``./workbench-notebooks``.

    Raises
    ------
    FileError : where the installation carries no notebooks.
    """
    here = Path(__file__).parent
    checkout = here.parent / "notebooks" / START
    if checkout.is_file():
        return checkout
    shipped, mine = here / "_notebooks", Path.cwd() / "workbench-notebooks"
    if not (shipped / START).is_file():
        message = (
            f"{shipped} holds no {START}: this installation is not whole; install medical-imaging-workbench again."
        )
        raise FileError(message)
    for notebook in shipped.glob("*.ipynb"):
        # A notebook the user has worked in is never written over.
        if not (mine / notebook.name).exists():
            mine.mkdir(exist_ok=True)
            shutil.copy(notebook, mine)
    return mine / START
